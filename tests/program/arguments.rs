//! What rules of Bazel have the program do, wherever it is started.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use oci_pull_all_support::User;

use crate::new_user;

/// Makes what `bazel build` makes of a rule that runs the program: a link to it, the rule's arguments, and its runfiles.
fn rule_of(user: &User, directory: &str) {
    let at = user.path(directory);
    fs::create_dir_all(at.join("rule.runfiles/_main")).expect("can be made");
    symlink(user.program(), at.join("rule")).expect("can be linked");
    fs::write(at.join("rule.arguments"), "mtree 'a file.tar' --output").expect("can be written");
    fs::write(at.join("rule.runfiles/_main/a file.tar"), [0; 1024]).expect("can be written");
}

#[test]
fn what_a_rule_runs_is_run_by_itself_and_by_scripts() {
    let user = new_user();
    rule_of(&user, "bin");
    let listed = user.path("listed");
    let run = |command: &mut Command| {
        let _ = fs::remove_file(&listed);
        let output = command.arg(&listed).current_dir(user.home()).output();
        let output = output.expect("can be run");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success() && listed.exists(), errors)
    };
    // In the user's directory, as Bazel does with --run_in_cwd, and by the path in bazel-bin.
    let in_place = &mut Command::new("bin/rule");
    assert!(run(in_place.env("OCI_PULL_ALL_ARGUMENTS", "rule.arguments")).0);
    assert!(run(&mut Command::new(user.path("bin/rule"))).0);

    // By a link, and by its name.
    symlink(user.path("bin/rule"), user.path("link")).expect("can be linked");
    assert!(run(&mut Command::new(user.path("link"))).0);
    let path = [("PATH", user.path("bin"))];
    assert!(run(Command::new("rule").envs(path)).0);

    // Among the runfiles of a script.
    let main = user.path("script.runfiles/_main");
    fs::create_dir_all(&main).expect("can be made");
    for name in ["rule", "rule.arguments"] {
        symlink(user.path("bin").join(name), main.join(name)).expect("can be linked");
    }
    fs::write(main.join("a file.tar"), [0; 1024]).expect("can be written");
    assert!(run(&mut Command::new(main.join("rule"))).0);

    fs::remove_dir_all(user.path("bin/rule.runfiles")).expect("can be removed");
    let (done, errors) = run(&mut Command::new("bin/rule"));
    assert!(
        !done && errors.contains("--build_runfile_links"),
        "{errors}"
    );
    let elsewhere = [("RUNFILES_DIR", user.path("script.runfiles"))];
    assert!(run(Command::new("bin/rule").envs(elsewhere)).0);
}

/// Whoever has a login in a name is told so, and nobody reads it in a log.
#[test]
fn no_login_is_shown_of_what_is_named() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let pinned = format!("user:hunter2@reg.test/a/b@{digest}");
    let login = "has a login before the registry";
    for (arguments, told) in [
        (
            &["resolve", "https://user:hunter2@reg.test/a/b:latest"][..],
            login,
        ),
        (&["resolve", "user:hunter2@localhost:5000/a"], login),
        (&["resolve", "user:hunter2@reg.test"], login),
        (&["resolve", "user:hunter2@host"], "has a malformed digest"),
        (&["resolve", "hunter2@reg.test/a"], login),
        (&["resolve", "user:hunt@er2@reg.test/a"], login),
        (&["resolve", "https://reg.test/a/b:latest"], "has a scheme"),
        (&["pull", "--output", "out", &pinned], login),
        (
            &[
                "pull",
                "--output",
                "out",
                "--mirror",
                "user:hunter2@h/p",
                "a",
            ],
            "it has no login",
        ),
        (
            &["resolve", "--plain-http", "user:hunter2@h:80", "a"],
            "and no scheme or login",
        ),
        (&["push", "--repository", "user:hunter2@reg.test/a"], login),
        (&["store", "status", "user:hunter2@reg.test/a"], ""),
    ] {
        let ran = new_user().run(arguments);
        for secret in ["hunter2", "hunt@", "er2"] {
            assert!(!ran.stderr.contains(secret), "{}", ran.stderr);
        }
        ran.failed(&[told]);
    }
}

#[test]
fn a_file_of_arguments_is_only_what_comes_first() {
    let user = new_user();
    fs::write(user.path("words"), "/passwd --symlink /extra evil").expect("can be written");
    fs::write(
        user.path("layer"),
        "layer '--output=a layer' --descriptor descriptor --compression none --symlink '/one' '@words'",
    )
    .expect("can be written");
    user.run(&["@layer", "--symlink", "@words", "@words"])
        .succeeded();
    user.run(&["mtree", "a layer", "--output", "list"])
        .succeeded();
    let listed = fs::read_to_string(user.path("list")).expect("can be read");
    assert!(listed.contains("./one type=link link=@words"), "{listed}");
    assert!(
        listed.contains("./@words type=link link=@words"),
        "{listed}"
    );
    assert!(!listed.contains("extra"), "{listed}");

    user.run(&["@none", "mtree"])
        .failed(&["cannot read none: "]);
}
