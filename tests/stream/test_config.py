"""Every error at once, with its line and what to do; nothing a file says can hurt."""

import json
from pathlib import Path

import pytest

from stream.config import Config, ConfigError, json_schema, load, parse
from stream.config.values import parse_bytes
from stream.redact import redact

CAMERA = "cameras: {front: {source: whip}}\n"


def problems(text: str, environment: dict[str, str] | None = None) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.yaml", environment or {})
    return [(problem.line, problem.key, problem.message) for problem in caught.value.problems]


def test_the_smallest_file_has_honest_defaults() -> None:
    config = parse(CAMERA)
    assert (config.server.host, config.server.port, config.mqtt) == ("127.0.0.1", 8080, None)
    assert (config.questions.max_concurrent, config.questions.queue, config.questions.timeout_s) == (8, 32, 30.0)
    camera = config.cameras["front"]
    assert (camera.fps, camera.transport, camera.stall_s, camera.loop, camera.pace) == (2.0, "tcp", 10.0, False, "own")
    assert config.memory.budget == 256 * 2**20


def test_all_errors_come_at_once_in_the_order_of_their_lines() -> None:
    text = """\
server: {listen: nowhere}
mqtt:
  url: "http://broker"
  discovry: true
memory:
  budget: much
cameras:
  front: {source: whip, fpss: 2}
  status: {source: whip}
  Bad Name: {source: whip}
  back: {fps: 0}
"""
    found = problems(text)
    assert [(line, key) for line, key, _ in found] == [
        (1, "server.listen"),
        (3, "mqtt.url"),
        (4, "mqtt.discovry"),
        (6, "memory.budget"),
        (8, "cameras.front.fpss"),
        (9, "cameras.status"),
        (10, "cameras.Bad Name"),
        (11, "cameras.back.source"),
        (11, "cameras.back.fps"),
    ]
    sentences = " ".join(message for _, _, message in found)
    for part in (
        "did you mean 'discovery'?",
        "did you mean 'fps'?",
        "256MiB",
        "is missing",
        "MQTT topics use this word",
    ):
        assert part in sentences


@pytest.mark.parametrize("name", ["status", "ask", "events", "stats", "", "A", "a/b", "a+", "#", "..", "ä", "a" * 65])
def test_camera_ids_that_would_break_a_topic_are_refused(name: str) -> None:
    assert problems(f"cameras: {{{json.dumps(name)}: {{source: whip}}}}")


def test_a_yaml_word_is_a_fine_camera_id() -> None:
    assert set(parse("cameras: {on: {source: whip}, 1: {source: whip}}").cameras) == {"on", "1"}


def test_variables_and_their_defaults() -> None:
    text = 'cameras: {front: {source: "${SCHEME:rtsp}://cam/${PATH_}", fps: "${FPS:4}"}}'
    config = parse(text, environment={"PATH_": "one"})
    assert (config.cameras["front"].source, config.cameras["front"].fps) == ("rtsp://cam/one", 4.0)
    ((line, key, message),) = problems(text)
    assert (line, key) == (1, "cameras.front.source")
    assert "PATH_ is not set" in message


def test_a_raw_password_in_a_url_is_encoded_and_an_encoded_one_left_alone() -> None:
    text = 'cameras: {front: {source: "rtsp://${U}:${P}@cam:554/x"}}'
    raw = parse(text, environment={"U": "bob", "P": "p@ss/w?rd#1"}).cameras["front"].source
    assert raw == "rtsp://bob:p%40ss%2Fw%3Frd%231@cam:554/x"
    encoded = parse(text, environment={"U": "bob", "P": "p%40ss"}).cameras["front"].source
    assert encoded == "rtsp://bob:p%40ss@cam:554/x"


def test_secrets_come_from_files_and_leave_no_trace(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary-in-a-file\n")
    text = f"{CAMERA}mqtt: {{url: mqtt://broker, username: u, password_file: {tmp_path}/secret}}"
    config = parse(text)
    assert config.mqtt is not None
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == "canary-in-a-file"
    assert "canary" not in repr(config)
    assert "canary" not in config.model_dump_json()


def test_credentials_of_the_broker_url_move_into_their_fields() -> None:
    config = parse(f"{CAMERA}mqtt: {{url: 'mqtts://me:canary%40home@broker:8883'}}")
    assert config.mqtt is not None
    assert config.mqtt.password is not None
    assert (config.mqtt.url, config.mqtt.username) == ("mqtts://broker:8883", "me")
    assert config.mqtt.password.get_secret_value() == "canary@home"
    assert "canary" not in repr(config)


def test_no_error_text_shows_a_secret() -> None:
    text = """\
mqtt: {url: "mqtt://u:canary-one@broker:70000", password: canary-two, wrong: canary-three}
cameras: {front: {source: "rtsp://u:canary-four@cam/1", fps: canary-five}}
"""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "canary" not in str(caught.value)
    assert redact("saw canary-two and canary-four") == "saw *** and ***"
    assert "canary-four" not in repr(parse('cameras: {front: {source: "rtsp://u:canary-four@cam/1"}}'))


def test_a_password_in_the_path_of_a_source_is_a_secret_everywhere() -> None:
    parse('cameras: {front: {source: "rtsp://cam/user=admin_password=canary-path_channel=1_stream=0.sdp"}}')
    assert redact("libav: canary-path was refused for admin") == "libav: *** was refused for admin"


@pytest.mark.parametrize(
    ("mqtt", "part"),
    [
        ("{url: mqtt://b, password: x, password_file: /nowhere}", "not both"),
        ("{url: mqtt://b, password_file: /nowhere/at/all}", "cannot be read"),
        ("{url: 'mqtt://u:p@b', password: x}", "keep one"),
        ("{url: mqtt://b, password: '${PW:default}'}", "no default"),
        ("{url: mqtt://b, prefix: a/b}", "one topic level"),
    ],
)
def test_bad_broker_settings(mqtt: str, part: str) -> None:
    assert part in " ".join(message for _, _, message in problems(f"{CAMERA}mqtt: {mqtt}"))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (BOMB, "anchors inside anchors"),
        ("a: &a [*a]\n", "nested deeper"),
        ("[" * 100_000, "nested deeper"),
        ("cameras:\n\tfront: {}\n", "a tab here"),
        ("cameras: [\n", "not YAML"),
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("- a\n- b\n", "keys and values"),
        ("just words", "keys and values"),
        ("!!python/object/apply:os.system ['true']\n", "keys and values"),
        (CAMERA + CAMERA, "stands twice"),
        ("base: &b {source: whip}\ncameras: {front: {<<: *b}}\n", "merge keys"),
        ("cameras: {}\n", "at least 1"),
        ("? [a]\n: b\n", "single word"),
        ("\x00", "not YAML"),
    ],
)
def test_strange_files_are_refused_in_a_sentence(text: str, part: str) -> None:
    assert part in " ".join(message for _, _, message in problems(text))


def test_a_file_too_large_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(tmp_path / "big.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"latin.yaml:2: is not UTF-8"):
        load(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("memory: {fused_min: 9, fused_max: 8}\n", "above fused_max"),
        ("memory: {warm_fraction: 0.6, cold_fraction: 0.5}\n", "leave nothing"),
        ("memory: {timezone: Mars/Olympus}\n", "time zone"),
        ("memory: {budget: -5}\n", "negative"),
        ("questions: {max_concurrent: 20}\n", "max_forks"),
        ("server: {listen: '::1:80'}\n", "brackets"),
        ("model: {device: tpu}\n", "match"),
        ("log: {level: loud}\n", "debug"),
    ],
)
def test_values_that_do_not_fit_together(text: str, part: str) -> None:
    assert part in " ".join(message for _, _, message in problems(CAMERA + text))


@pytest.mark.parametrize(
    ("written", "size"),
    [("256MiB", 2**28), ("1.5 GB", 1_500_000_000), (77, 77), ("8k", None), (True, None), ("1e3", None)],
)
def test_sizes(written: object, size: int | None) -> None:
    if size is None:
        with pytest.raises(ValueError, match="256MiB"):
            parse_bytes(written)
    else:
        assert parse_bytes(written) == size


def test_the_schema_names_every_section() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert json.loads(json.dumps(schema)) == schema
    assert schema["additionalProperties"] is False
