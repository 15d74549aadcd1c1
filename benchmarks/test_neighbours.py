"""How long the nearest neighbours take, against faiss and transformer-ranker."""

import pytest
import torch

from benchmarks.cases import SMALL, sample
from nclib import KNN

GROUP = f"{SMALL}, 2,000 queries"


@pytest.fixture(scope="module")
def given():
    features, labels = sample(SMALL._replace(num_samples=SMALL.num_samples + 2_000))
    return features[:-2_000], labels[:-2_000], features[-2_000:], labels[-2_000:]


def timed(benchmark, call):
    benchmark.group = GROUP
    return benchmark.pedantic(call, rounds=9, warmup_rounds=1)


def test_knn(benchmark, given):
    features, labels, queries, wanted = given
    accuracy = timed(benchmark, lambda: KNN(5).fit(features, labels).score(queries, wanted))
    assert accuracy > 0.5


def test_faiss_flat(benchmark, given):
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(torch.get_num_threads())
    features, labels, queries, wanted = given

    def call():
        index = faiss.IndexFlatIP(features.shape[1])
        rows, asked = (part.numpy().copy() for part in (features, queries))
        for part in (rows, asked):
            faiss.normalize_L2(part)
        index.add(rows)
        nearest = torch.from_numpy(index.search(asked, 5)[1])
        return float((labels[nearest].mode(1).values == wanted).double().mean())

    accuracy = timed(benchmark, call)
    assert accuracy == pytest.approx(KNN(5).fit(features, labels).score(queries, wanted), abs=0.02)


def test_transformer_ranker_knn(benchmark, given):
    """Euclidean, and of every sample among the others."""
    peer = pytest.importorskip("transformer_ranker.estimators")
    benchmark.group = GROUP
    benchmark.pedantic(lambda: peer.NearestNeighbors(k=5).fit(*given[:2]), rounds=2)


def test_cuml(benchmark, given):
    cuml = pytest.importorskip("cuml", reason="cuML needs a GPU, and is not in requirements.txt")
    features, labels, queries, wanted = (part.cuda() for part in given)

    def call():
        model = cuml.neighbors.KNeighborsClassifier(5, metric="cosine").fit(features, labels)
        return model.score(queries, wanted)

    timed(benchmark, call)
