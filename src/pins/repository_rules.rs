//! What a workspace pulls by repository rules of its own (`use_repo_rule`), of which no extension knows: Bazel tells.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::oci::strict;

use super::declared::{Attributes, Declared};

/// The function by which a module file names such a rule.
pub(super) const USE_REPO_RULE: &str = "use_repo_rule";
/// The part of a canonical name that repositories of such rules have until Bazel 8; since then it is the rule's name.
const REPO_RULES: &str = "_repo_rules";
/// How the canonical names of repositories begin that come from the root module's own files, until Bazel 7 and since then.
const OF_ROOT: [&str; 2] = ["_main~", "+"];
/// The repository rules that pull.
pub(super) const RULES: [&str; 2] = ["oci_pull", "oci_pull_all"];
/// Where their own files are in the module, which tells them from other projects' rules of these names: as a path,
/// and as the label that newer Bazels print.
const RULES_FILES: [&str; 2] = [
    "/oci/private/repositories/oci_pull",
    "//oci/private/repositories:oci_pull",
];

/// The Bazel that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Bazel<'a> {
    /// Its name, or its path.
    pub program: &'a str,
    /// Variables of the environment that it is not to have, because they are about this program's run.
    pub unset: &'a [&'a str],
}

/// Why Bazel does not tell.
#[derive(Debug, thiserror::Error)]
pub enum BazelError {
    /// It cannot be run.
    #[error("cannot run {program}, which knows what use_repo_rule declares")]
    Start {
        /// The program.
        program: String,
        /// Why it does not start.
        source: io::Error,
    },
    /// It failed.
    #[error("{command} failed: {message}")]
    Failed {
        /// What was run.
        command: String,
        /// The end of what it said.
        message: String,
    },
    /// It prints a repository in another form than is known.
    #[error("what bazel mod show_repo prints of {name} cannot be read")]
    Repository {
        /// The repository.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It says something else than it is known to.
    #[error("{command} does not print a map of names")]
    Mapping {
        /// What was run.
        command: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Asks for what the root module of the workspace pulls by repository rules.
pub(super) fn ask(workspace: &Path, bazel: Bazel) -> Result<Vec<Declared>, BazelError> {
    let mapping = ["mod", "dump_repo_mapping", ""];
    let printed = run(workspace, bazel, &mapping)?;
    let names: BTreeMap<String, String> =
        strict::read(printed.trim().as_bytes()).map_err(|source| BazelError::Mapping {
            command: command_line(bazel.program, &mapping),
            source,
        })?;
    let names = candidates(&names);
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let arguments = ["mod", "show_repo"].into_iter();
    let arguments: Vec<&str> = arguments.chain(names.iter().map(String::as_str)).collect();
    let printed = run(workspace, bazel, &arguments)?;
    of_show_repo(&printed).map_err(|(name, source)| BazelError::Repository { name, source })
}

/// The repositories that repository rules may have made, by their names. Where no part of a canonical name tells, all that
/// the root module's own files make are asked for.
fn candidates(names: &BTreeMap<String, String>) -> Vec<String> {
    let of_root = names.iter().filter(|(_, canonical)| {
        let mut beginnings = OF_ROOT.iter();
        beginnings.any(|beginning| canonical.starts_with(beginning))
    });
    let (by_part, others): (Vec<_>, Vec<_>) =
        of_root.partition(|(_, canonical)| canonical.contains(REPO_RULES));
    let names = if by_part.is_empty() { others } else { by_part };
    names.iter().map(|(name, _)| format!("@{name}")).collect()
}

fn command_line(program: &str, arguments: &[&str]) -> String {
    let words = std::iter::once(program).chain(arguments.iter().copied());
    shlex::try_join(words.clone()).unwrap_or_else(|_| words.collect::<Vec<_>>().join(" "))
}

fn run(workspace: &Path, bazel: Bazel, arguments: &[&str]) -> Result<String, BazelError> {
    let Bazel { program, unset } = bazel;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace);
    for variable in unset {
        command.env_remove(variable);
    }
    let output = command.output().map_err(|source| BazelError::Start {
        program: program.to_owned(),
        source,
    })?;
    if output.status.success() {
        // Windows ends lines in its own way.
        return Ok(String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let is_error = |line: &&str| line.starts_with("ERROR") || line.starts_with("FATAL");
    let error = said.lines().find(is_error).or(said.lines().last());
    Err(BazelError::Failed {
        command: command_line(program, arguments),
        message: error.unwrap_or("it says nothing").to_owned(),
    })
}

/// What `bazel mod show_repo` printed of repositories, as far as they are pulled by this project's rules.
///
/// It prints each as a call in Starlark, with the evaluated attributes one a line, and where the rule is defined: behind it,
/// in comments, or before it, as it is loaded.
fn of_show_repo(printed: &str) -> Result<Vec<Declared>, (String, serde_json::Error)> {
    let printed = format!("\n{printed}");
    let repositories = printed.split("\n## @").skip(1);
    repositories.filter_map(of_repository).collect()
}

/// Nothing of a repository that other rules make.
fn of_repository(printed: &str) -> Option<Result<Declared, (String, serde_json::Error)>> {
    let with_slashes = printed.replace('\\', "/");
    if !RULES_FILES.iter().any(|file| with_slashes.contains(file)) {
        return None;
    }
    let (name, call) = printed.split_once(":\n")?;
    let lines = call.lines();
    let mut lines = lines.skip_while(|line| !RULES.contains(&line.trim_end_matches('(')));
    lines.next()?;
    let attributes = lines
        .map_while(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| attribute(name, value.trim_end_matches(',')));
    let object = format!("{{{}}}", attributes.collect::<Vec<_>>().join(","));
    let name = name.trim_start_matches('@').to_owned();
    Some(match strict::read::<Attributes>(object.as_bytes()) {
        Ok(attributes) => Ok(attributes.declared(name)),
        Err(error) => Err((name, error)),
    })
}

/// An attribute in Starlark as one of JSON: they differ in three words, and a label is a string.
fn attribute(name: &str, value: &str) -> String {
    let value = match value {
        "True" => "true",
        "False" => "false",
        "None" => "null",
        value => {
            let label = value.strip_prefix("Label(");
            let label = label.and_then(|label| label.strip_suffix(')'));
            label.unwrap_or(value)
        }
    };
    format!("\"{name}\":{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"## @third:
# <builtin>
oci_pull_all(
  name = "_main~_repo_rules~third",
  platforms = ["linux/amd64", "linux/arm64"],
  plain_http = True,
  registry = "127.0.0.1:5000",
  repository = "library/debian",
  tag = "stable",
  digest = "sha256:00",
)
# Rule _main~_repo_rules~third instantiated at (most recent call last):
#   <builtin> in <toplevel>
# Rule oci_pull_all defined at (most recent call last):
#   /cache/external/oci_pull_all~/oci/private/repositories/oci_pull_all.bzl:20:31 in <toplevel>

## @theirs:
# <builtin>
oci_pull(
  name = "_main~_repo_rules~theirs",
  registry = "127.0.0.1:5000",
  repository = "library/debian",
)
# Rule oci_pull defined at (most recent call last):
#   /cache/external/rules_oci~/oci/private/pull.bzl:20:31 in <toplevel>
"#;

    #[test]
    fn what_bazel_prints_of_repository_rules_is_read() {
        let declared = of_show_repo(PRINTED).unwrap();
        let [
            Declared {
                name,
                digest,
                pinned,
            },
        ] = &declared[..]
        else {
            panic!("{declared:?}");
        };
        let pinned = pinned.as_ref().unwrap();
        assert_eq!(name, "third");
        assert_eq!(
            pinned.repository.to_string(),
            "127.0.0.1:5000/library/debian"
        );
        assert_eq!(pinned.tag.as_deref(), Some("stable"));
        assert_eq!(digest, "sha256:00");
        assert_eq!(pinned.platforms.len(), 2);
        assert!(pinned.plain_http);
    }

    #[test]
    fn what_a_newer_bazel_prints_is_read() {
        let printed = r#"## @whole:
# Located at: /cache/external/+oci_pull_all+whole
load("@@oci_pull_all+//oci/private/repositories:oci_pull_all.bzl", "oci_pull_all")
oci_pull_all(
  name = "+oci_pull_all+whole",
  _original_name = "whole",
  image = "127.0.0.1:5000/app",
  digest = "sha256:00",
  docker_config = Label("@@//:config.json"),
)

## @theirs:
load("@@rules_oci+//oci/private:pull.bzl", "oci_pull")
oci_pull(
  name = "+oci_pull+theirs",
)

"#;
        let declared = of_show_repo(printed).unwrap();
        let [Declared { name, pinned, .. }] = &declared[..] else {
            panic!("{declared:?}");
        };
        let pinned = pinned.as_ref().unwrap();
        assert_eq!(name, "whole");
        assert_eq!(pinned.docker_config.as_deref(), Some("@@//:config.json"));
    }

    #[test]
    fn what_the_root_makes_itself_is_asked_for() {
        let asked = |canonical: &[&str]| {
            let names = canonical.iter().enumerate();
            let names = names.map(|(number, name)| (number.to_string(), (*name).to_owned()));
            candidates(&names.collect())
        };
        let seven = [
            "",
            "rules_oci~",
            "oci_pull_all~~oci~a",
            "_main~ext~b",
            "_main~_repo_rules~c",
        ];
        assert_eq!(asked(&seven), ["@4"]);
        let eight = [
            "",
            "oci_pull_all++oci+a",
            "+ext+b",
            "+_repo_rules+c",
            "+_repo_rules2+d",
        ];
        assert_eq!(asked(&eight), ["@3", "@4"]);
        let nine = [
            "",
            "oci_pull_all++oci+a",
            "+oci_pull_all+b",
            "+my_rule+c",
            "bazel_tools",
        ];
        assert_eq!(asked(&nine), ["@2", "@3"]);
    }
}
