//! A Bazel module registry on disk, made of the modules that Debian packages and of this one.
//!
//! Users have the Bazel Central Registry; a machine without it can still resolve the modules that
//! Bazel itself stands on, because each entry here points at a directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::checkout;

/// Modules that a graph names and none of our builds reads from.
const STUBS: [&str; 4] = ["apple_support", "buildozer", "protobuf", "zlib"];

/// What `bazel mod tidy` runs, if the environment names it.
const BUILDOZER_EXTENSION: &str = r#"
def _repository_impl(rctx):
    rctx.file("BUILD.bazel", "")
    program = rctx.getenv("BUILDOZER")
    if program:
        rctx.symlink(program, "buildozer.exe")

_repository = repository_rule(implementation = _repository_impl)

def _extension_impl(_mctx):
    _repository(name = "buildozer_binary")

buildozer_binary = module_extension(implementation = _extension_impl)
"#;

/// Writes a registry into `directory` and returns what `--registry` takes.
///
/// `root` is where Debian's files are seen from here; Bazel, which runs inside, sees them at `/`.
pub fn write_registry(directory: &Path, root: &Path) -> String {
    let bazel = root.join("usr/share/bazel");
    let graph = fs::read_to_string(bazel.join("embedded_tools/MODULE.bazel"))
        .expect("Bazel has a MODULE.bazel");
    let mut wanted = dependencies(&graph);
    wanted.extend(pair(&[
        ("bazel_skylib", "1.7.1"),
        ("rules_shell", "0.3.0"),
        ("stardoc", "0.8.1"),
        // What the cases ask for, and what the next release will be.
        ("oci_pull_all", "0.1.0"),
        ("oci_pull_all", env!("CARGO_PKG_VERSION")),
    ]));
    let mut done = BTreeSet::new();
    while let Some((name, version)) = wanted.pop() {
        if !done.insert((name.clone(), version.clone())) {
            continue;
        }
        let source = source(directory, root, &name);
        let module = fs::read_to_string(source.outside.join("MODULE.bazel")).unwrap_or_default();
        wanted.extend(dependencies(&module));
        let entry = directory.join("modules").join(&name).join(&version);
        fs::create_dir_all(&entry).expect("can be made");
        fs::write(
            entry.join("MODULE.bazel"),
            entry_module(&module, &name, &version),
        )
        .expect("can be written");
        let location = json!({"type": "local_path", "path": source.inside});
        fs::write(entry.join("source.json"), location.to_string()).expect("can be written");
    }
    fs::write(directory.join("bazel_registry.json"), "{}").expect("can be written");
    format!("file://{}", directory.display())
}

struct Source {
    outside: PathBuf,
    inside: PathBuf,
}

fn source(directory: &Path, root: &Path, name: &str) -> Source {
    if name == "oci_pull_all" {
        return Source {
            outside: checkout(),
            inside: checkout(),
        };
    }
    if STUBS.contains(&name) {
        let stub = directory.join("stubs").join(name);
        fs::create_dir_all(&stub).expect("can be made");
        for empty in ["BUILD.bazel", "MODULE.bazel"] {
            fs::write(stub.join(empty), "").expect("can be written");
        }
        fs::write(stub.join("buildozer_binary.bzl"), BUILDOZER_EXTENSION).expect("can be written");
        return Source {
            outside: stub.clone(),
            inside: stub,
        };
    }
    let relative = match name {
        "bazel_features" => "tools/features",
        "bazel_skylib" => "tools/skylib",
        "platforms" => "tools/platforms",
        "stardoc" => "tools/stardoc",
        _ => &format!("rules/{}", name.trim_start_matches("rules_")),
    };
    let inside = Path::new("/usr/share/bazel").join(relative);
    let outside = root.join("usr/share/bazel").join(relative);
    assert!(
        outside.is_dir(),
        "no Debian package brings the Bazel module {name}"
    );
    Source { outside, inside }
}

/// `rules_java` without the JDKs that it would download, each of which is a repository that every workspace makes.
fn without_downloaded_jdks(module: &str) -> String {
    let Some((before, rest)) = module.split_once("\nJDKS = {") else {
        return module.to_owned();
    };
    let (_, after) = rest.split_once("\n}\n").expect("the dict ends");
    format!("{before}\nJDKS = {{}}\n{after}")
}

/// The module file of a registry entry: Debian has one version of each, whatever version is asked for.
fn entry_module(module: &str, name: &str, version: &str) -> String {
    let module = &without_downloaded_jdks(module);
    let head = format!("module(name = \"{name}\", version = \"{version}\")\n");
    let Some(start) = module.find("module(") else {
        return head;
    };
    let end = start + module[start..].find(')').expect("the call of module ends");
    format!("{}{head}{}", &module[..start], &module[end + 1..])
}

/// The name and version of each `bazel_dep` that counts when the module is not the root.
fn dependencies(module: &str) -> Vec<(String, String)> {
    let code: String = module
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    code.split("bazel_dep(")
        .skip(1)
        .filter_map(|rest| {
            let call = rest.split(')').next()?;
            let dev = call.contains("dev_dependency = True");
            let value = |key: &str| {
                call.split(&format!("{key} = \""))
                    .nth(1)?
                    .split('"')
                    .next()
                    .map(str::to_owned)
            };
            if dev {
                None
            } else {
                Some((value("name")?, value("version")?))
            }
        })
        .collect()
}

fn pair(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values
        .iter()
        .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
        .collect()
}
