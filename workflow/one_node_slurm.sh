#!/usr/bin/env bash
# A Slurm of one node, this machine, from Debian's packages: to try the slurm profile, not to compute with.
# As root, in a container or a machine of your own: workflow/one_node_slurm.sh start, and stop when done.
set -euo pipefail

start() {
    command -v slurmctld >/dev/null || apt-get install -y -q slurm-wlm munge
    mkdir -p /etc/slurm /run/munge /var/spool/slurmd /var/spool/slurmctld /var/log/slurm
    cat >/etc/slurm/slurm.conf <<CONF
ClusterName=one
SlurmctldHost=$(hostname -s)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ReturnToService=2
NodeName=$(hostname -s) CPUs=$(nproc) RealMemory=$(free -m | awk '/^Mem:/ {print $2}') State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    chown -R munge: /run/munge /etc/munge /var/log/munge /var/lib/munge
    [ -f /etc/munge/munge.key ] || runuser -u munge -- mungekey
    pgrep munged >/dev/null || runuser -u munge -- munged
    pgrep slurmctld >/dev/null || slurmctld
    pgrep slurmd >/dev/null || slurmd
    for _ in $(seq 30); do sinfo -h -o %t | grep -q idle && break || sleep 1; done
    sinfo
}

stop() {
    pkill slurmd || true
    pkill slurmctld || true
    pkill munged || true
    rm -f /etc/slurm/slurm.conf # without it Slurm's commands, which Snakemake asks, say at once that there is none
}

"${1:?start or stop}"
