from multiprocessing import get_context

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.metrics import OTHER, Metrics


def samples(metrics):
    text, _ = metrics.scrape("application/openmetrics-text; version=1.0.0")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def counted(metrics):
    metrics.know(["ai"], ["pro"])
    for _ in range(3):
        metrics.decided("consume", "ai", "pro", "included")
    metrics.decision_seconds("consume", 0.002)
    metrics.redis_seconds(0.0001)
    metrics.degraded("ai")
    metrics.fenced()
    metrics.overload()
    return metrics


def test_what_was_counted_is_what_is_scraped():
    found = samples(counted(Metrics()))
    assert found["tallygate_decisions_total", "ai", "pro", "included", "consume"] == 3
    assert found["tallygate_fenced_total",] == 1
    assert found["tallygate_overload_total",] == 1
    assert found["tallygate_degraded_total", "ai"] == 1
    assert found["tallygate_decision_seconds_count", "consume"] == 1
    assert found["tallygate_decision_seconds_bucket", "0.001", "consume"] == 0
    assert found["tallygate_decision_seconds_bucket", "0.0025", "consume"] == 1
    assert found["tallygate_decision_seconds_bucket", "+Inf", "consume"] == 1
    assert found["tallygate_redis_seconds_sum",] == 0.0001


def test_a_gateway_that_has_done_nothing_says_so():
    found = samples(Metrics())
    assert found["tallygate_fenced_total",] == 0
    assert found["tallygate_overload_total",] == 0


def test_names_that_no_catalog_has_do_not_become_labels():
    metrics = Metrics()
    metrics.know(["ai"], ["pro"])
    for number in range(50):
        metrics.decided("consume", f"made_up_{number}", "", "feature_unknown")
        metrics.decided("consume", "ai", f"made_up_{number}", "included")
        metrics.degraded(f"made_up_{number}")
    found = samples(metrics)
    assert found["tallygate_decisions_total", OTHER, "", "feature_unknown", "consume"] == 50
    assert found["tallygate_decisions_total", "ai", OTHER, "included", "consume"] == 50
    assert found["tallygate_degraded_total", OTHER] == 50


def test_any_worker_answers_for_all_and_none_ever_goes_back(tmp_path):
    first, second = counted(Metrics(tmp_path)), Metrics(tmp_path)
    assert samples(first)["tallygate_fenced_total",] == 1
    # Another process, that ends: its counts stay.
    worker = get_context("spawn").Process(target=_count_and_leave, args=(tmp_path,))
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0
    first.fenced()
    found = samples(first)
    assert found["tallygate_fenced_total",] == 3
    assert found["tallygate_decisions_total", "ai", "pro", "included", "consume"] == 6
    assert found["tallygate_decision_seconds_bucket", "+Inf", "consume"] == 2
    assert second is not first


def _count_and_leave(directory):
    counted(Metrics(directory)).flush()
