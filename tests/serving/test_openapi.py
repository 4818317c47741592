"""Property tests: requests made from the OpenAPI document, sound and unsound, never bring the service down."""

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from kronos.serving.config import Limits, Settings  # noqa: E402
from tests.serving.test_api import offered  # noqa: E402, F401
from tests.serving_server import Server, bars, columns  # noqa: E402

EXAMPLES = 40


@pytest.fixture(scope="module")
def server(offered):  # noqa: F811
    with Server(offered, Settings(port=0, limits=Limits(work=2000))) as running:
        yield running


@pytest.fixture(scope="module")
def document(server):
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


OPERATIONS = [
    ("POST", "/v1/forecast"),
    ("POST", "/v1/forecast/batch"),
    ("POST", "/v1/inspect"),
    ("GET", "/v1/samples/{name}"),
    ("GET", "/v1/models"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_the_document_allows_is_answered_as_it_says_and_never_with_a_fault_of_the_server(
    document, method, path
):
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    @given(case=document[path][method].as_strategy())
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(case):
        response = case.call(timeout=60)
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=[status_code_conformance, response_schema_conformance])

    run()


numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 200))
odd = st.one_of(numbers, st.text(max_size=8), st.booleans(), st.lists(numbers, max_size=3))
MEMBERS = ("model", "horizon", "lookback", "holdout", "paths", "quantiles", "target", "calendar", "tz", "clean", "seed",
           "temperature", "top_p", "top_k", "samples", "timeout", "id")  # fmt: skip


@settings(
    max_examples=150, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    members=st.dictionaries(st.sampled_from(MEMBERS), odd, max_size=4),
    prices=st.lists(numbers, min_size=3, max_size=12),
)
def test_sound_bars_with_odd_options_and_odd_prices_are_answered_or_refused_in_words(server, members, prices):
    with server.client() as client:
        sound = {"bars": columns(bars(30)), "horizon": 2, "paths": 2, **members}
        strange = columns(bars(len(prices))) | {"close": prices}
        for body in (sound, {**sound, "bars": strange}):
            answer = client.post("/v1/forecast", json=body)
            assert answer.status_code in (200, 422, 504), answer.text
            if answer.status_code != 200:
                assert answer.json()["detail"] and "Traceback" not in answer.text


@settings(
    max_examples=150, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)),
    name=st.text(max_size=20),
    header=st.booleans(),
)
def test_files_of_any_bytes_and_any_name_are_read_or_refused_in_words(server, content, name, header):
    head = b"timestamps,open,high,low,close,volume\n" if header else b""
    with server.client() as client:
        answer = client.post("/v1/inspect", files={"file": (name or "x", head + content)})
        assert answer.status_code in (200, 400, 413, 422), answer.text
        assert "Traceback" not in answer.text and "/tmp/kronos" not in answer.text
