"""MLflow's pages in headless Chromium."""

import json
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from splade_sts.tracking import view
from splade_sts.tracking.start import start_mlflow
from tests.support.mlflow_runs import EXPERIMENT, mlflow_server
from tests.support.records import run_record

pytestmark = pytest.mark.browser


def test_mlflow_pages(
    browser: webdriver.Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages that `ui` names are the table of runs with our columns, alone and by sweep; two
    runs are compared in sections of charts.
    """
    uri = f"sqlite:///{tmp_path / 'server.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    start_mlflow()
    from splade_sts.tracking.store import Store

    record, store = run_record(), Store.open(tmp_path, EXPERIMENT)
    first = store.write(record, "first-run", {}).run_id
    second = store.client.create_run(store.experiment_id, run_name="second-run").info.run_id
    points = [(point.step, view.point_values(point)) for point in record.points]
    store.log_points(second, points, int(time.time() * 1000))
    store.client.set_terminated(second)
    for name in ("seed-1", "seed-2"):
        store.write(record, name, {view.SWEEP_TAG: "train.seed from c0ffeec"})
    with mlflow_server(tmp_path, uri) as (address, _):
        wait = WebDriverWait(browser, 60)
        browser.get(address + view.runs_page(store.experiment_id))
        texts = ("first-run", "second-run", "test/spearman", "test/gain")
        wait.until(lambda b: all(text in b.page_source for text in texts))
        assert "machine_learning" in browser.current_url
        assert "traces" not in browser.current_url
        # the page does not leave a shared view where only the part behind # changes
        browser.get("about:blank")
        browser.get(address + view.runs_page(store.experiment_id, view.SWEEPS))
        texts = ("Group: train.seed from c0ffeec", "seed-1", "seed-2")
        wait.until(lambda b: all(text in b.page_source for text in texts))
        browser.get("about:blank")
        compared = f"runs={json.dumps([first, second])}&experiments={json.dumps(['1'])}"
        browser.get(f"{address}/#/compare-runs?{compared}")
        texts = ("second-run", "test/gain")
        wait.until(lambda b: all(text in b.page_source for text in texts))
        browser.get("about:blank")
        page = f"{address}/#/experiments/{store.experiment_id}/runs?compareRunsMode=CHART"
        browser.get(f"{page}&workflowType=machine_learning")
        drawn = ".js-plotly-plot .trace, .js-plotly-plot .point"
        wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, drawn))
        sections = [f">{name}</div>" for name in ("test", "train", "validation")]
        wait.until(lambda b: all(section in b.page_source for section in sections))
