#!/usr/bin/env bash
# A Slurm of one node, this machine, from Debian's packages: to try the slurm profile, not to compute with.
# As root, in a container or a machine of your own: workflow/one_node_slurm.sh start, and stop when done.
set -euo pipefail
conf=/etc/slurm/slurm.conf
mark="# of one_node_slurm.sh"

ours() { grep -qsF "$mark" $conf; }

start() {
    if [ -e $conf ] && ! ours; then
        echo "this machine has a Slurm of its own ($conf), which is left alone" >&2
        exit 1
    fi
    command -v slurmctld >/dev/null || apt-get install -y -q slurm-wlm munge
    mkdir -p /etc/slurm /run/munge /var/spool/slurmd /var/spool/slurmctld /var/log/slurm
    cat >$conf <<CONF
$mark
ClusterName=one
SlurmctldHost=$(hostname -s)
SlurmUser=root
SlurmctldPidFile=/run/one_slurmctld.pid
SlurmdPidFile=/run/one_slurmd.pid
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
    pgrep -x munged >/dev/null || runuser -u munge -- munged --pid-file /run/munge/one_munged.pid
    pgrep -x slurmctld >/dev/null || slurmctld
    pgrep -x slurmd >/dev/null || slurmd
    for _ in $(seq 30); do
        if sinfo -h -o %t | grep -q idle; then sinfo && return; fi
        sleep 1
    done
    echo "no node is idle after 30 s; see /var/log/slurm" >&2
    exit 1
}

stop() {
    ours || { echo "there is no Slurm that this script started" >&2 && exit 1; }
    for file in /run/one_slurmd.pid /run/one_slurmctld.pid /run/munge/one_munged.pid; do
        [ ! -e "$file" ] || kill "$(cat "$file")" || true
    done
    rm -f $conf # without it Slurm's commands, which Snakemake asks, say at once that there is none
}

case "${1:-}" in
start | stop) "$1" ;;
*) echo "usage: $0 start | stop" >&2 && exit 2 ;;
esac
