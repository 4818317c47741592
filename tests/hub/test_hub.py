"""From a name to a ready predictor: local pairs, the zoo, the cache, and what is said when something is missing or wrong."""

import dataclasses
import json
import os
import shutil
import socket
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import constants

import kronos
from kronos import CheckpointError, Kronos, KronosPredictor, KronosTokenizer, PairWarning, loading
from kronos.hub import pairing
from kronos.hub import registry as zoo
from kronos.loading import pair_settings
from kronos.nn import checkpoint
from kronos.nn.checkpoint import CheckpointSource
from tests.processes import run_process

SECONDS_TO_SAY_SO = 30.0  # huggingface_hub itself would go on asking for minutes


def origin_of(network: Kronos | KronosTokenizer) -> CheckpointSource:
    assert network.origin is not None
    return network.origin


@pytest.fixture
def pair(golden, tmp_path):
    """A folder with model/ and tokenizer/, to be changed freely."""
    for part in ("model", "tokenizer"):
        shutil.copytree(golden / "tiny" / part, tmp_path / "pair" / part)
    return tmp_path / "pair"


@pytest.fixture
def networks(golden):
    folder = golden / "tiny"
    return Kronos.from_pretrained(folder / "model"), KronosTokenizer.from_pretrained(folder / "tokenizer")


@pytest.fixture
def no_network(monkeypatch):
    """Any step towards the Hub fails the test."""

    def fail(*args, **options):
        pytest.fail(f"asked the Hub for {args} {options}")

    monkeypatch.setattr(checkpoint, "hf_hub_download", fail)
    monkeypatch.setattr(checkpoint, "get_hf_file_metadata", fail)


@pytest.fixture
def closed_port():
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def unreachable_hub(monkeypatch, tmp_path, closed_port):
    """The Hub where nobody listens; gives an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", closed_port)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", closed_port + "/{repo_id}/resolve/{revision}/{filename}"
    )
    return tmp_path / "cache"


def put_in_cache(cache, repo, source, revision, branch=None):
    """Lay a folder's files where the Hub's client would have put them."""
    home = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(source, home / "snapshots" / revision)
    if branch is not None:
        (home / "refs").mkdir()
        (home / "refs" / branch).write_text(revision)


# -------------------------------------------------------------------------------------------- local pairs


def test_a_folder_pair_becomes_a_predictor_in_eval_mode_with_the_default_context(pair, no_network):
    predictor = kronos.load(pair, device="cpu")
    assert isinstance(predictor, KronosPredictor)
    assert predictor.max_context == 512 and predictor.device == "cpu"
    assert not predictor.model.training and not predictor.tokenizer.training
    assert predictor.model.origin == CheckpointSource(str(pair / "model"), pair / "model" / "model.safetensors")


def test_pair_json_gives_the_context_and_an_argument_overrules_it(pair, no_network):
    (pair / "pair.json").write_text(json.dumps({"max_context": 32, "temperature": 0.6, "top_p": 0.95}))
    assert kronos.load(str(pair), device="cpu").max_context == 32
    assert kronos.load(pair, device="cpu", max_context=16, clip=3).max_context == 16
    settings = pair_settings(pair)
    assert (settings.max_context, settings.temperature, settings.top_p) == (32, 0.6, 0.95)
    with pytest.raises(ValueError, match="max_context must be a whole number of at least 1, found 0"):
        kronos.load(pair, device="cpu", max_context=0)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"context": 32}, "unknown keys context; known: max_context, temperature, top_p"),
        ({"max_context": 0}, "max_context .* found 0"),
        ({"max_context": "32"}, "max_context .* found '32'"),
        ({"max_context": True}, "max_context .* found True"),
        ({"temperature": -1}, "temperature .* found -1"),
        ({"top_p": "all"}, "top_p .* found 'all'"),
        ([], "must hold an object"),
    ],
)
def test_a_wrong_pair_json_is_refused_by_name(content, named, pair):
    (pair / "pair.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=named) as error:
        kronos.load(pair, device="cpu")
    assert "pair.json" in str(error.value)


def test_a_model_folder_alone_needs_its_tokenizer_named(pair, no_network):
    with pytest.raises(CheckpointError, match=r"holds one network.*tokenizer=\.\.\."):
        kronos.load(pair / "model", device="cpu")
    predictor = kronos.load(pair / "model", tokenizer=pair / "tokenizer", device="cpu")
    assert origin_of(predictor.tokenizer).name == str(pair / "tokenizer")


def test_a_pair_without_its_tokenizer_is_refused_and_its_path_not_taken_for_a_hub_id(pair, no_network, monkeypatch):
    shutil.rmtree(pair / "tokenizer")
    monkeypatch.chdir(pair.parent)
    with pytest.raises(CheckpointError, match="folder pair has a model but no folder tokenizer"):
        kronos.load("pair", device="cpu")


def test_an_empty_folder_says_what_it_lacks(tmp_path, no_network):
    with pytest.raises(CheckpointError, match=r"neither config\.json nor folders model/ and tokenizer/"):
        kronos.load(tmp_path)


def test_a_local_checkpoint_without_weights_says_what_a_checkpoint_is(pair, no_network):
    (pair / "model" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors; a checkpoint is config\.json and model\.safe"):
        kronos.load(pair, device="cpu")


@pytest.mark.parametrize("name", ["huge", "Kronos-small", "somebody/some-model", "/nowhere/at/all"])
def test_an_unknown_name_lists_the_zoo(name, no_network):
    with pytest.raises(CheckpointError, match="nano, mini, small, base") as error:
        kronos.load(name)
    assert name in str(error.value)


def test_a_device_that_is_not_there_is_named(pair):
    with pytest.raises(ValueError, match="device 'cuda:77' cannot be used here"):
        kronos.load(pair, device="cuda:77")


# ------------------------------------------------------------------------------------------------ pairing


def test_swapped_networks_are_told_the_order(networks):
    model, tokenizer = networks
    with pytest.raises(ValueError, match=r"found KronosTokenizer and Kronos; the order is KronosPredictor\(model, tok"):
        KronosPredictor(tokenizer, model)


def test_different_bit_widths_are_refused_with_both_at_construction(networks):
    model, tokenizer = networks
    other = KronosTokenizer(**{**tokenizer.config.to_dict(), "s1_bits": 7, "s2_bits": 5})
    with pytest.raises(ValueError, match=r"writes 7 \+ 5 bits a bar, the model reads 6 \+ 6"):
        KronosPredictor(model, other, device="cpu")


def test_a_tokenizer_of_another_number_of_features_is_refused(networks):
    model, tokenizer = networks
    with pytest.raises(ValueError, match="takes 5 features a bar, K-lines have 6"):
        KronosPredictor(model, KronosTokenizer(**{**tokenizer.config.to_dict(), "d_in": 5}), device="cpu")


@pytest.mark.parametrize(
    ("model_name", "tokenizer_name", "right"),
    [
        ("Kronos-mini", "Kronos-Tokenizer-base", "Kronos-Tokenizer-2k"),
        ("Kronos-small", "Kronos-Tokenizer-2k", "Kronos-Tokenizer-base"),
        ("Kronos-base", "Kronos-Tokenizer-2k", "Kronos-Tokenizer-base"),
    ],
)
def test_a_wrong_published_pair_warns_by_name_and_the_right_one_does_not(
    networks, model_name, tokenizer_name, right, tmp_path
):
    model, tokenizer = networks
    model.origin = CheckpointSource(f"neoquasar/{model_name}", tmp_path / "none")
    tokenizer.origin = CheckpointSource(f"NeoQuasar/{tokenizer_name}", tmp_path / "none")
    with pytest.warns(PairWarning, match=f"{model_name} was trained with {right}, not with {tokenizer_name}") as caught:
        KronosPredictor(model, tokenizer, device="cpu")
    assert len(caught) == 1 and f'from_pretrained("NeoQuasar/{right}")' in str(caught[0].message)
    tokenizer.origin = CheckpointSource(f"NeoQuasar/{right}", tmp_path / "none")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KronosPredictor(model, tokenizer, device="cpu")


def test_own_networks_never_warn(networks):
    model, tokenizer = networks
    for origin in (None, model.origin, CheckpointSource("NeoQuasar/Kronos-small", model.origin.weights)):
        model.origin = origin
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            KronosPredictor(model, tokenizer, device="cpu")


def test_a_local_copy_of_published_weights_is_known_by_its_checksum(networks, monkeypatch):
    model, tokenizer = networks
    weights = tokenizer.origin.weights
    copied = dataclasses.replace(
        zoo.TOKENIZER_2K, size=weights.stat().st_size, sha256=pairing.sha256_of(weights), repo="NeoQuasar/Other"
    )
    monkeypatch.setattr(pairing, "PUBLISHED", (copied, *zoo.PUBLISHED))
    model.origin = CheckpointSource("NeoQuasar/Kronos-small", weights)
    with pytest.warns(PairWarning, match="Kronos-small was trained with Kronos-Tokenizer-base, not with Other"):
        KronosPredictor(model, tokenizer, device="cpu")


# ------------------------------------------------------------------------------------------------- the Hub


def assert_ways_out(message):
    for way in ("local folder", "HF_ENDPOINT", 'kronos.load("nano")'):
        assert way in message


@pytest.mark.parametrize("name", ["mini", "small", "base", "NeoQuasar/Kronos-small"])
def test_an_unreachable_hub_is_said_within_seconds_with_the_ways_out(name, unreachable_hub):
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match="could not be had from the Hugging Face Hub") as error:
        kronos.load(name, cache_dir=unreachable_hub)
    assert time.perf_counter() - start < SECONDS_TO_SAY_SO
    assert_ways_out(str(error.value))
    assert "refused" in str(error.value) and "NeoQuasar/" in str(error.value)


def test_a_mirror_that_does_not_answer_is_said_within_seconds_by_a_fresh_process(closed_port, tmp_path):
    script = (
        "import time, kronos\nstart = time.perf_counter()\n"
        "try:\n    kronos.load('small')\n"
        "except kronos.CheckpointError as error:\n    print(error)\n"
        "print(time.perf_counter() - start)"
    )
    environment = {**os.environ, "HF_ENDPOINT": closed_port, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    result = run_process([sys.executable, "-c", script], env=environment)
    assert result.returncode == 0, result.stderr
    message, seconds = result.stdout.splitlines()
    assert_ways_out(message)
    assert float(seconds) < 2 * SECONDS_TO_SAY_SO  # with the import of PyTorch
    assert "Retrying" not in result.stderr


def test_from_pretrained_says_the_same_of_an_unreachable_hub(unreachable_hub):
    start = time.perf_counter()
    for network in (Kronos, KronosTokenizer):
        with pytest.raises(CheckpointError, match=r"'somebody/something' is no local folder.*refused") as error:
            network.from_pretrained("somebody/something", cache_dir=unreachable_hub)
        assert_ways_out(str(error.value))
    assert time.perf_counter() - start < SECONDS_TO_SAY_SO


def test_offline_mode_and_local_files_only_ask_nobody_and_give_the_ways_out(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "get_hf_file_metadata", lambda *_, **__: pytest.fail("asked the Hub"))
        with pytest.raises(CheckpointError) as error:
            kronos.load("small", cache_dir=tmp_path, local_files_only=True)
        assert_ways_out(str(error.value))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="offline") as error:
        kronos.load("small", cache_dir=tmp_path)
    assert_ways_out(str(error.value))


def test_a_name_that_is_no_hub_id_is_refused_without_asking(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "get_hf_file_metadata", lambda *_, **__: pytest.fail("asked the Hub"))
    with pytest.raises(CheckpointError, match="no local folder"):
        Kronos.from_pretrained(tmp_path / "missing")


def test_a_cached_checkpoint_loads_though_the_hub_is_unreachable(golden, unreachable_hub):
    put_in_cache(unreachable_hub, "somebody/tiny", golden / "tiny" / "model", "a" * 40, branch="main")
    start = time.perf_counter()
    loaded = Kronos.from_pretrained("somebody/tiny", cache_dir=unreachable_hub)
    assert time.perf_counter() - start < SECONDS_TO_SAY_SO
    assert origin_of(loaded).name == "somebody/tiny"
    assert Kronos.from_pretrained("somebody/tiny", cache_dir=unreachable_hub, local_files_only=True).origin


def test_a_forced_download_says_at_once_that_the_hub_is_unreachable_though_the_file_is_cached(golden, unreachable_hub):
    put_in_cache(unreachable_hub, "somebody/tiny", golden / "tiny" / "model", "a" * 40, branch="main")
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match="refused"):
        Kronos.from_pretrained("somebody/tiny", cache_dir=unreachable_hub, force_download=True)
    assert time.perf_counter() - start < SECONDS_TO_SAY_SO


def stand_in(published, weights):
    """The zoo's record of a published file, with the checksum of a file that we have."""
    return dataclasses.replace(published, size=weights.stat().st_size, sha256=pairing.sha256_of(weights))


@pytest.fixture
def published_small(golden, unreachable_hub, monkeypatch):
    """The tiny pair in the cache in place of the published small one, at the pinned revisions, with matching checksums."""
    small = zoo.ZOO["small"]
    entry = dataclasses.replace(
        small,
        model=stand_in(small.model, golden / "tiny" / "model" / "model.safetensors"),
        tokenizer=stand_in(small.tokenizer, golden / "tiny" / "tokenizer" / "model.safetensors"),
    )
    for part, published in (("model", entry.model), ("tokenizer", entry.tokenizer)):
        assert published is not None
        put_in_cache(unreachable_hub, published.repo, golden / "tiny" / part, published.revision)
    monkeypatch.setitem(zoo.ZOO, "small", entry)
    return unreachable_hub


@pytest.mark.parametrize("name", ["small", "SMALL", "NeoQuasar/Kronos-small", "neoquasar/kronos-SMALL"])
def test_a_published_pair_loads_from_the_cache_at_its_pinned_revisions(name, published_small):
    predictor = kronos.load(name, device="cpu", cache_dir=published_small)
    assert predictor.max_context == 512
    small = zoo.ZOO["small"]
    for published, part in ((small.model, predictor.model), (small.tokenizer, predictor.tokenizer)):
        assert published is not None and published.revision is not None
        assert published.revision in str(origin_of(part).weights)


def test_a_named_tokenizer_is_looked_for_with_the_same_options_but_not_the_models_revision(
    golden, published_small, tmp_path
):
    model = zoo.ZOO["small"].model
    assert model is not None and model.revision is not None
    put_in_cache(published_small, "somebody/tok", golden / "tiny" / "tokenizer", "b" * 40, branch="main")
    options: dict[str, Any] = {"device": "cpu", "cache_dir": published_small, "revision": model.revision}
    assert origin_of(kronos.load("small", tokenizer="somebody/tok", **options).tokenizer).name == "somebody/tok"
    put_in_cache(published_small, "somebody/model", golden / "tiny" / "model", model.revision)
    loaded = kronos.load("somebody/model", tokenizer="somebody/tok", **options)
    assert origin_of(loaded.model).name == "somebody/model"


@pytest.mark.parametrize("part", ["model", "tokenizer"])
def test_a_file_that_is_not_the_published_one_is_refused_by_its_checksum(part, published_small, tmp_path, monkeypatch):
    published = getattr(zoo.ZOO["small"], part)
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"something else")
    real = checkpoint.locate
    monkeypatch.setattr(
        loading,
        "locate",
        lambda name, *args, **options: other if name == published.repo else real(name, *args, **options),
    )
    with pytest.raises(CheckpointError, match=f"not the published {published.short}") as error:
        kronos.load("small", device="cpu", cache_dir=published_small)
    for part_of_message in (str(other), pairing.sha256_of(other), published.sha256, "force_download"):
        assert part_of_message in str(error.value)


def test_the_zoo_is_the_one_of_the_specification():
    assert {name: entry.context for name, entry in zoo.ZOO.items()} == {
        "nano": 512,
        "mini": 2048,
        "small": 512,
        "base": 512,
    }
    assert zoo.ZOO["mini"].tokenizer == zoo.TOKENIZER_2K
    assert zoo.ZOO["small"].tokenizer == zoo.ZOO["base"].tokenizer == zoo.TOKENIZER_BASE
    for published in zoo.PUBLISHED:
        assert published.repo.startswith("NeoQuasar/")
        if published.revision is not None:
            assert len(published.revision) == 40
            assert published.sha256 is not None and len(published.sha256) == 64
            # The file is the parameters in float32 and a little more (header, buffers).
            assert published.size is not None and published.parameters is not None
            assert 0 < published.size - 4 * published.parameters < 50_000


def test_a_pair_says_which_windows_it_was_trained_on_and_longer_ones_are_warned_of(tmp_path):
    from kronos.hub.registry import ZOO

    nano = ZOO["nano"].folder
    assert nano is not None
    shutil.copytree(nano, tmp_path / "pair")
    settings = {"max_context": 512, "temperature": 1.0, "top_p": 1.0, "trained_bars": [32, 64]}
    (tmp_path / "pair" / "pair.json").write_text(json.dumps(settings))
    predictor = kronos.load(tmp_path / "pair", device="cpu")
    assert predictor.trained_bars == (32, 64) and predictor.trained_context == 64
    close = 100 + np.sin(np.arange(120) / 5)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close))
    times = pd.Series(pd.date_range("2024-01-01", periods=124, freq="h"))
    with pytest.warns(UserWarning, match="a lookback of 120 bars is longer than the 64 that the model was trained on"):
        predictor.forecast(bars, times[:120], times[120:], sample_count=2, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # by default it looks back on 60 bars
        assert len(predictor.predict_df(bars.assign(timestamp=times[:120]), 4, num_samples=2, verbose=False)) == 4
    for wrong in ([64], [64, 32], ["a", "b"], 64):
        (tmp_path / "pair" / "pair.json").write_text(json.dumps(settings | {"trained_bars": wrong}))
        with pytest.raises(CheckpointError, match=r"trained_bars in .* must be two whole numbers"):
            kronos.load(tmp_path / "pair", device="cpu")
