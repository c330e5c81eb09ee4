"""Files for Qdrant, in Qdrant's own local mode: a search finds what the dot products say."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from splade_sts.apply.encode import Encoding
from splade_sts.apply.formats import FIELD
from splade_sts.apply.rows import Source
from splade_sts.apply.work import Settings, run
from splade_sts.model.encoder import load_encoder
from tests.support import tiny

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(
        importlib.util.find_spec("qdrant_client") is None, reason="needs requirements-engines.txt"
    ),
]
QUERIES, FOUND = 20, 10


@pytest.mark.parametrize("weights", ["float32", "uint8"])
def test_the_ten_nearest(tiny_splade, tmp_path, weights):
    """With vectors of SparseEncoder as queries: the exact top ten of the dot products with the
    vectors that were written, and those are SparseEncoder's, up to the rounding to 8 bits.
    """
    from qdrant_client import QdrantClient, models

    texts = tiny.make_pairs(150).sentences
    pd.DataFrame({"text": texts}).to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    job = Encoding(str(tiny_splade), "qdrant", weights=weights)
    run(job, Source((tmp_path / "t.jsonl",), ("text",)), Settings(tmp_path / "out", 100, 1))

    client = QdrantClient(":memory:")
    collection = json.loads((tmp_path / "out/collection.json").read_text())
    client.create_collection(
        "texts",
        vectors_config=collection["vectors"],
        sparse_vectors_config={
            name: models.SparseVectorParams(**settings)
            for name, settings in collection["sparse_vectors"].items()
        },
    )
    for file in sorted((tmp_path / "out/vectors").iterdir()):
        points = json.loads(file.read_text())["points"]
        client.upsert("texts", [models.PointStruct(**point) for point in points])
    assert client.count("texts").count == len(texts)

    model = load_encoder(tiny_splade)
    vectors = model.encode(texts, convert_to_sparse_tensor=False, convert_to_tensor=True)
    documents = vectors.double().numpy()
    if weights == "uint8":
        documents = np.rint(documents * 64) / 64
    queries = vectors.double().numpy()
    for query in queries[queries.any(axis=1)][:QUERIES]:
        exact = documents @ query
        (entries,) = query.nonzero()
        sparse = models.SparseVector(indices=entries.tolist(), values=query[entries].tolist())
        hits = client.query_points("texts", query=sparse, using=FIELD, limit=FOUND).points
        best = np.sort(exact[exact > 0])[::-1][:FOUND]
        assert [hit.score for hit in hits] == pytest.approx(best.tolist(), rel=1e-5)
        assert exact[[hit.id for hit in hits]] == pytest.approx(best, rel=1e-5)
        assert len({hit.id for hit in hits}) == len(best) > 0
        assert all(hit.payload == {"id": str(hit.id)} for hit in hits)
