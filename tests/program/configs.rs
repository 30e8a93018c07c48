//! Configs of images that are built on others.

use std::fs;
use std::process::Command;

use oci_pull_all_support::{Ran, User};
use serde_json::{Value, json};

use crate::new_user;

/// Writes a base without layers, whose config has these members.
fn base(user: &User, config: &Value) {
    base_of(user, "linux", config);
}

/// As [`base`], for such a system.
fn base_of(user: &User, os: &str, config: &Value) {
    let config = json!({
        "os": os, "architecture": "amd64", "created": "2020-01-01T00:00:00Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let config = config.to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(),
            "digest": oci_pull_all_support::digest(config.as_bytes()),
        },
        "layers": [],
    });
    fs::write(user.path("base-config"), config).expect("can be written");
    fs::write(user.path("base-manifest"), manifest.to_string()).expect("can be written");
}

fn image(user: &User, arguments: &[&str]) -> Ran {
    let common = [
        "image",
        "--base-manifest",
        "base-manifest",
        "--base-config",
        "base-config",
        "--manifest",
        "manifest",
        "--config",
        "config",
        "--descriptor",
        "descriptor",
    ];
    user.run(&[&common, arguments].concat())
}

/// The document that was written to this file.
fn document(user: &User, name: &str) -> Value {
    serde_json::from_slice(&fs::read(user.path(name)).expect("there")).expect("JSON")
}

#[test]
fn variables_are_expanded_as_in_a_dockerfile() {
    let user = new_user();
    base(&user, &json!({"Env": ["PATH=/bin", "EMPTY="]}));
    image(
        &user,
        &[
            "--env",
            "PATH=/app:${PATH:-/none}",
            "--env",
            "A=${NONE:-d}${EMPTY:+x}${PATH:+y}",
            "--env",
            "B=$$5",
        ],
    )
    .succeeded();
    let env = &document(&user, "config")["config"]["Env"];
    assert_eq!(*env, json!(["PATH=/app:/bin", "EMPTY=", "A=dy", "B=$5"]));
    for (value, problem) in [
        ("${PATH:x}", "${PATH:x}"),
        ("${NONE:?no such thing}", "no such thing"),
        ("$1", "$1"),
        ("${PATH", "lacks its '}'"),
    ] {
        image(&user, &["--env", &format!("BAD={value}")]).failed(&["BAD", problem]);
    }
}

/// Runtimes take the last of several.
#[test]
fn a_variable_that_a_base_has_twice_is_set_once() {
    let user = new_user();
    let env = ["PATH=/evil", "A=a", "PATH=/good"];
    base(&user, &json!({ "Env": env }));
    image(&user, &["--env", "PATH=/mine:$PATH"]).succeeded();
    let built = &document(&user, "config")["config"]["Env"];
    assert_eq!(*built, json!(["PATH=/mine:/good", "A=a"]));
    image(&user, &["--env", "B=b"]).succeeded();
    let built = &document(&user, "config")["config"]["Env"];
    assert_eq!(*built, json!([&env[..], &["B=b"]].concat()));
}

/// Nobody reads -0.0 as a whole number.
#[test]
fn a_nothing_below_nothing_is_written_as_others_read_it() {
    let user = new_user();
    let check = json!({"Test": ["NONE"], "Interval": 7, "Retries": 7});
    base(&user, &json!({"Healthcheck": check, "Of": {"nobody": 7}}));
    let path = user.path("base-config");
    let config = fs::read_to_string(&path).expect("can be read");
    let config = config.replace(":7", ":-0");
    let size = config.len();
    fs::write(&path, &config).expect("can be written");
    let mut manifest = document(&user, "base-manifest");
    manifest["config"]["size"] = size.into();
    manifest["config"]["digest"] = oci_pull_all_support::digest(config.as_bytes()).into();
    fs::write(user.path("base-manifest"), manifest.to_string()).expect("can be written");
    image(&user, &["--env", "A=a"]).succeeded();
    let built = fs::read_to_string(user.path("config")).expect("can be read");
    assert!(!built.contains(":-0"), "{built}");
    let built = document(&user, "config");
    assert_eq!(built["config"]["Healthcheck"]["Interval"], json!(0));
    assert_eq!(built["config"]["Of"]["nobody"], json!(0));
}

#[test]
fn a_relative_workdir_stands_on_the_bases() {
    let user = new_user();
    for (of_base, said, expected) in [
        (json!({"WorkingDir": "/srv"}), "app", "/srv/app"),
        (json!({}), "app/../x/", "/x"),
        (json!({"WorkingDir": "/srv"}), "/opt//x/.", "/opt/x"),
        (json!({"WorkingDir": "/srv"}), "../../..", "/"),
    ] {
        base(&user, &of_base);
        image(&user, &["--workdir", said]).succeeded();
        assert_eq!(
            document(&user, "config")["config"]["WorkingDir"],
            expected,
            "{said}"
        );
    }
}

#[test]
fn on_windows_paths_and_variables_are_as_there() {
    let user = new_user();
    for (of_base, said, expected) in [
        ("C:\\app", "sub", "C:\\app\\sub"),
        ("c:/app", "sub/x", "C:\\app\\sub\\x"),
        ("", "a", "C:\\a"),
        ("D:\\app", "\\bar", "C:\\bar"),
        ("C:\\app", "d:/x/..", "D:\\"),
        ("C:\\app", "..\\b", "C:\\b"),
        // Those of the builder that Docker has on Windows, by its own tests.
        ("", "c:\\\\foo", "C:\\foo"),
        ("", "\\\\foo", "C:\\foo"),
        ("", "C:/foo", "C:\\foo"),
        ("C:\\foo", "/bar", "C:\\bar"),
    ] {
        base_of(&user, "windows", &json!({"WorkingDir": of_base}));
        image(&user, &["--workdir", said]).succeeded();
        let config = document(&user, "config");
        assert_eq!(config["config"]["WorkingDir"], expected, "{said}");
    }
    for bad in ["D:x", "C:", "C:."] {
        image(&user, &["--workdir", bad]).failed(&[bad, "is not a directory"]);
    }
    base_of(&user, "windows", &json!({"WorkingDir": "c:"}));
    image(&user, &["--workdir", "\\a"]).failed(&["c:", "is not a directory"]);
    base_of(&user, "windows", &json!({"Env": ["Path=C:\\w"]}));
    image(&user, &["--env", "PATH=C:\\app;$PATH"]).succeeded();
    let env = &document(&user, "config")["config"]["Env"];
    assert_eq!(*env, json!(["PATH=C:\\app;C:\\w"]));
}

#[test]
fn a_signal_is_what_docker_takes_for_one() {
    let user = new_user();
    base(&user, &json!({}));
    for signal in [
        "SIGTERM",
        "term",
        "9",
        "64",
        "SIGRTMIN+3",
        "RTMAX-14",
        "RTMIN",
    ] {
        image(&user, &["--stop-signal", signal]).succeeded();
        assert_eq!(document(&user, "config")["config"]["StopSignal"], signal);
    }
    for bad in ["NOSUCH", "0", "65", "-1", "RTMIN+16", "RTMIN+", "SIG", ""] {
        image(&user, &[&format!("--stop-signal={bad}")]).failed(&["is not a signal"]);
    }
}

#[test]
fn an_entry_point_and_a_command_may_be_taken_away() {
    let user = new_user();
    base(
        &user,
        &json!({"Entrypoint": ["/bin/sh"], "Cmd": ["-c", "x"]}),
    );
    for (said, expected) in [
        (&["--clear-entrypoint"][..], json!({})),
        (&["--clear-cmd"], json!({"Entrypoint": ["/bin/sh"]})),
        (&["--clear-entrypoint", "--cmd", "y"], json!({"Cmd": ["y"]})),
        (&["--entrypoint", "/app"], json!({"Entrypoint": ["/app"]})),
    ] {
        image(&user, said).succeeded();
        assert_eq!(document(&user, "config")["config"], expected, "{said:?}");
    }
}

#[test]
fn what_docker_drops_is_dropped_and_what_it_has_can_be_set() {
    let user = new_user();
    base(
        &user,
        &json!({"OnBuild": ["RUN x"], "Shell": ["/bin/sh", "-c"], "Cmd": ["a"]}),
    );
    image(
        &user,
        &[
            "--healthcheck",
            "CMD",
            "--healthcheck",
            "/app/check",
            "--healthcheck",
            "--all",
            "--healthcheck-option",
            "interval=1m30s",
            "--healthcheck-option",
            "retries=3",
            "--shell",
            "/bin/bash",
            "--shell",
            "-c",
            "--author",
            "Someone",
            "--created",
            "2024-05-06T07:08:09Z",
        ],
    )
    .succeeded();
    let config = document(&user, "config");
    assert_eq!(config["created"], "2024-05-06T07:08:09Z");
    assert_eq!(config["author"], "Someone");
    let expected = json!({
        "Cmd": ["a"],
        "Healthcheck": {"Test": ["CMD", "/app/check", "--all"], "Interval": 90_000_000_000_u64, "Retries": 3},
        "Shell": ["/bin/bash", "-c"],
    });
    assert_eq!(config["config"], expected);

    image(&user, &["--healthcheck", "curl"]).failed(&["curl", "begins with CMD"]);
    for option in [
        "interval=5",
        "every=5s",
        "retries=x",
        "interval=5124095h",
        "retries=9223372036854775808",
    ] {
        image(
            &user,
            &["--healthcheck", "NONE", "--healthcheck-option", option],
        )
        .failed(&[option.split('=').next().expect("a name")]);
    }
}

#[test]
fn ports_are_what_docker_takes_for_ports() {
    let user = new_user();
    base(&user, &json!({"ExposedPorts": {"1/udp": {}}}));
    for (said, expected) in [
        ("80", &["80/tcp"][..]),
        ("8000-8002/tcp", &["8000/tcp", "8001/tcp", "8002/tcp"]),
        ("53-54/UDP", &["53/udp", "54/udp"]),
        ("7-7", &["7/tcp"]),
    ] {
        image(&user, &["--exposed-port", said]).succeeded();
        let config = document(&user, "config");
        let ports = config["config"]["ExposedPorts"].as_object();
        let mut ports: Vec<&str> = ports
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        ports.retain(|port| *port != "1/udp");
        assert_eq!(ports, expected, "{said}");
    }
    base(
        &user,
        &json!({"ExposedPorts": {"80": {}, "90/TCP": {}, "1-2": {}, "x": {}}}),
    );
    image(&user, &["--exposed-port", "80", "--exposed-port", "90"]).succeeded();
    let ports = &document(&user, "config")["config"]["ExposedPorts"];
    assert_eq!(
        *ports,
        json!({"80/tcp": {}, "90/tcp": {}, "1-2": {}, "x": {}})
    );
    let all = image(&user, &["--exposed-port", "1-65535"]);
    all.succeeded();
    for bad in [
        "0", "0-5", "9-8", "1-65536", "-1", "1-", "+80", "80/icmp", "80/", "http", "1-2-3",
    ] {
        let argument = format!("--exposed-port={bad}");
        image(&user, &[&argument]).failed(&[bad, "is not a port"]);
    }
}

#[test]
fn times_of_a_health_check_are_what_docker_takes_for_times() {
    let user = new_user();
    base(&user, &json!({}));
    let check = |interval: &str| {
        let option = format!("interval={interval}");
        let arguments = ["--healthcheck", "CMD", "--healthcheck", "x"];
        let ran = image(
            &user,
            &[&arguments[..], &["--healthcheck-option", &option]].concat(),
        );
        (ran, option)
    };
    for (said, nanoseconds) in [
        ("1.5s", 1_500_000_000_u64),
        ("1m0.5s", 60_500_000_000),
        (".5h", 1_800_000_000_000),
        ("2.s", 2_000_000_000),
        ("500ms", 500_000_000),
        ("1500us", 1_500_000),
        ("1500\u{b5}s", 1_500_000),
        ("1000000ns", 1_000_000),
        ("0.0000000000000000001h1s", 1_000_000_000),
        ("0", 0),
    ] {
        check(said).0.succeeded();
        let interval = &document(&user, "config")["config"]["Healthcheck"]["Interval"];
        assert_eq!(*interval, nanoseconds, "{said}");
    }
    for bad in [
        "",
        "5",
        ".s",
        "1.5",
        "s",
        "1.5.5s",
        "-1s",
        "1 s",
        "1d",
        "9999999999h",
        "1ns",
        "0.9ms",
    ] {
        let (ran, option) = check(bad);
        ran.failed(&[&option]);
    }
}

#[test]
fn labels_annotations_and_variables_may_come_from_files() {
    let user = new_user();
    base(&user, &json!({"Env": ["A=a"]}));
    fs::write(user.path("stamp"), "# built by\nA=1=2\n\nB=$A\n").expect("can be written");
    let arguments = [
        "--env-file",
        "stamp",
        "--label-file",
        "stamp",
        "--annotation-file",
        "stamp",
        "--label",
        "B=mine",
    ];
    image(&user, &arguments).succeeded();
    let config = document(&user, "config");
    assert_eq!(config["config"]["Env"], json!(["A=1=2", "B=a"]));
    assert_eq!(config["config"]["Labels"], json!({"A": "1=2", "B": "mine"}));
    let annotations = &document(&user, "manifest")["annotations"];
    assert_eq!(*annotations, json!({"A": "1=2", "B": "$A"}));
    // As Docker reads such files.
    let docker = "\u{feff}A=1\r\n \t \r\n  # why\n  B=2 \n";
    fs::write(user.path("stamp"), docker).expect("can be written");
    image(&user, &["--label-file", "stamp"]).succeeded();
    let labels = &document(&user, "config")["config"]["Labels"];
    assert_eq!(*labels, json!({"A": "1", "B": "2 "}));
    image(&user, &["--volume="]).failed(&["a volume is a path"]);
    fs::write(user.path("stamp"), "A=1\0\n").expect("can be written");
    image(&user, &["--env-file", "stamp"]).failed(&["is not an environment variable"]);
    fs::write(user.path("stamp"), "A=1\nnothing\n").expect("can be written");
    image(&user, &["--label-file", "stamp"]).failed(&["stamp line 2", "NAME=VALUE"]);
    for blank in ["export C=3", "B = 2"] {
        fs::write(user.path("stamp"), blank).expect("can be written");
        image(&user, &["--env-file", "stamp"]).failed(&[blank, "no blanks in the name"]);
    }
    let made = Command::new("mkfifo").arg(user.path("pipe")).status();
    assert!(made.expect("can be run").success());
    image(&user, &["--env-file", "pipe"]).failed(&["pipe", "not a regular file"]);
}
