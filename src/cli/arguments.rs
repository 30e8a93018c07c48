//! Where the arguments come from: whoever runs the program, files, and the rules of Bazel.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Parser;
use oci_pull_all::files::open_regular;

use super::Result;

/// Names the file with a rule's arguments: Bazel gives a test, and what it runs, only those of the user.
pub(super) const ARGUMENTS_VARIABLE: &str = "OCI_PULL_ALL_ARGUMENTS";
/// What is there instead of a file's name where the program has started itself, and what it was given is all: what a rule made
/// would else do all its work again.
pub(super) const NO_ARGUMENTS: &str = "-";

/// Where the user is under `bazel run`, which is not where Bazel starts the program.
const WORKING_DIRECTORY_VARIABLE: &str = "BUILD_WORKING_DIRECTORY";

/// Names the directory of runfiles for what another program of the build starts.
const RUNFILES_VARIABLE: &str = "RUNFILES_DIR";

/// What `bazel run` and this project's rules tell the program, and another that it starts must not take for its own.
pub(super) const OF_THIS_RUN: [&str; 4] = [
    ARGUMENTS_VARIABLE,
    WORKING_DIRECTORY_VARIABLE,
    "BUILD_WORKSPACE_DIRECTORY",
    "BUILD_EXECROOT",
];

/// What runfiles of the main repository are in, and what Bazel starts a program in.
const MAIN: &str = "_main";

/// How many links to a rule's link are followed.
const MAX_LINKS: usize = 40;

/// Where the user was before the program went where a rule's files are.
static LEFT: OnceLock<PathBuf> = OnceLock::new();

/// The program's name and its arguments: those of the rule that made it, if one did, or of the file `@FILE` that is the first
/// word, and then the others, which are taken as they are. No other word is a file: a command comes first, so that none can be
/// that someone else has chosen.
pub(super) fn arguments() -> Result<Vec<OsString>> {
    let mut given = env::args_os();
    let Some(name) = given.next() else {
        return Ok(Vec::new());
    };
    if variable(ARGUMENTS_VARIABLE).is_some_and(|file| file == NO_ARGUMENTS) {
        return Ok([name].into_iter().chain(given).collect());
    }
    if let Some(file) = rule_file(Path::new(&name))? {
        let of_rule = read_arguments(&file)?;
        return Ok([name].into_iter().chain(of_rule).chain(given).collect());
    }
    if let Some(directory) = variable(WORKING_DIRECTORY_VARIABLE) {
        enter(Path::new(&directory))?;
    }
    let mut words = vec![name];
    if let Some(first) = given.next() {
        match first.to_str().and_then(|word| word.strip_prefix('@')) {
            Some(file) => words.extend(read_arguments(Path::new(file))?),
            None => words.push(first),
        }
    }
    words.extend(given);
    Ok(words)
}

/// A variable of the environment. One that is empty, as CI leaves what it does not know, is as none.
pub(super) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Parses arguments by the same rule of variables.
pub(super) fn parse<P: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
) -> std::result::Result<P, clap::Error> {
    let mut command = with_variables(P::command());
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Parses what a variable says of a flag without a value.
pub(super) fn switch(
    variable: &'static str,
) -> impl Fn(&str) -> std::result::Result<bool, String> + Clone {
    move |text| match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err(format!(
            "{variable} is 1, true, yes or on, or else 0, false, no or off"
        )),
    }
}

/// A command whose flags ask for no variable that is empty.
fn with_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|flag| {
        let value = flag.get_env().and_then(env::var_os);
        let is_empty = value.is_some_and(|value| value.is_empty());
        if is_empty { flag.env(None) } else { flag }
    });
    command.mut_subcommands(with_variables)
}

/// The file with the rule's arguments, if a rule made what is run. The rule's paths then hold.
fn rule_file(program: &Path) -> Result<Option<PathBuf>> {
    let named = variable(ARGUMENTS_VARIABLE).map(PathBuf::from);
    if let Some(file) = named.as_ref().filter(|file| file.exists()) {
        return Ok(Some(file.clone()));
    }
    // Started by itself, by a script of the build or in the user's directory: the file lies beside it.
    let Some((program, file)) = with_file(program)? else {
        return match named {
            Some(file) => Err(format!("cannot find {}", file.display()).into()),
            None => Ok(None),
        };
    };
    let around = program.ancestors().find(|directory| {
        let name = directory.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(".runfiles"))
    });
    let told = variable(RUNFILES_VARIABLE).map(PathBuf::from);
    let own = with_ending(&program, ".runfiles");
    let roots = [Some(own), around.map(Path::to_owned), told];
    let mut roots = roots.into_iter().flatten().map(|root| root.join(MAIN));
    let root = roots.find(|root| root.is_dir()).ok_or_else(|| {
        format!(
            "cannot find the files that {} needs: there is no {}.runfiles; build it with --build_runfile_links, or start it by bazel run",
            program.display(),
            program.display()
        )
    })?;
    enter(&root)?;
    Ok(Some(file))
}

/// The link that a rule made and the file beside it, behind whatever links lead there.
fn with_file(program: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let mut link = if program.components().count() > 1 {
        std::path::absolute(program)?
    } else {
        // The shell has found it so, too.
        let path = env::var_os("PATH").unwrap_or_default();
        let mut found = env::split_paths(&path).map(|directory| directory.join(program));
        match found.find(|file| file.is_file()) {
            Some(found) => std::path::absolute(found)?,
            None => return Ok(None),
        }
    };
    for _ in 0..MAX_LINKS {
        let is_of_windows = link.extension().is_some_and(|ending| ending == "exe");
        let name = if is_of_windows {
            link.with_extension("")
        } else {
            link.clone()
        };
        let file = with_ending(&name, ".arguments");
        if file.is_file() {
            return Ok(Some((link, file)));
        }
        let Ok(target) = fs::read_link(&link) else {
            return Ok(None);
        };
        link = link.with_file_name("").join(target);
    }
    Ok(None)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(ending);
    text.into()
}

fn enter(directory: &Path) -> Result<()> {
    let left = env::current_dir()?;
    env::set_current_dir(directory)
        .map_err(|error| format!("cannot enter {}: {error}", directory.display()))?;
    LEFT.get_or_init(|| left);
    Ok(())
}

/// A path that only users write: relative to where they are, even where the paths of a rule are among the
/// arguments.
pub(super) fn users_path(path: &Path) -> PathBuf {
    let directory = variable(WORKING_DIRECTORY_VARIABLE).map(PathBuf::from);
    match directory.as_ref().or(LEFT.get()) {
        Some(directory) => directory.join(path),
        None => path.to_owned(),
    }
}

pub(super) fn read_arguments(file: &Path) -> Result<impl Iterator<Item = OsString>> {
    let text = open_regular(file)
        .and_then(io::read_to_string)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let words = shlex::split(&text)
        .ok_or_else(|| format!("{} has a quote that does not end", file.display()))?;
    Ok(words.into_iter().map(OsString::from))
}

/// The values of a flag that takes two.
pub(super) fn pairs(values: &[String]) -> impl Iterator<Item = (&str, &str)> {
    values
        .chunks_exact(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
}

/// The name and the value of a flag that takes `NAME=VALUE`.
pub(super) fn parse_pair(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
