//! `scan`: what a scan test calls.

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Args, ValueEnum};
use oci_pull_all::layout::{Format, LayoutImages, archive, find_image};
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::scan::{self, Isolation, Itself, Network, Scan, ScanError, Scanned, sbom};

use super::arguments::{ARGUMENTS_VARIABLE, NO_ARGUMENTS, parse_pair};
use super::layout::unpack;
use super::{Failed, Result, print_error, read};

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// What is scanned. {layout} in the scanner's arguments and the environment variable `OCI_LAYOUT` have the absolute
    /// path by which the scanner finds it: a layout's files, or a single file, as regular files that it cannot change.
    #[arg(long, value_name = "PATH")]
    layout: PathBuf,
    /// In which form the scanner gets it; as it is where this is left out. All but sbom are made of a layout.
    #[arg(long, value_enum)]
    input: Option<Input>,
    /// Which image of the layout: the scanner sees that one alone.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// The scanner's program.
    #[arg(long, value_name = "FILE")]
    scanner: PathBuf,
    /// What errors call the scanner, if not by its path.
    #[arg(long, value_name = "NAME")]
    scanner_name: Option<String>,
    /// A file or directory that the scanner finds at the same relative path in its working directory, which has nothing
    /// else. May be repeated.
    #[arg(long, value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Let the scanner use the network. Without it, the scanner has none, or is not started where that cannot be held.
    #[arg(long)]
    network: bool,
    /// The directory for reports, {outputs}.
    #[arg(
        long,
        value_name = "DIR",
        env = "TEST_UNDECLARED_OUTPUTS_DIR",
        default_value = "."
    )]
    outputs: PathBuf,
    /// A directory in which the scan may keep what it needs while it runs; by default the system's.
    #[arg(long, value_name = "DIR", env = "TEST_TMPDIR")]
    scratch: Option<PathBuf>,
    /// The name of a report below the directory for reports that the scanner must write. {report} in the
    /// scanner's arguments and the variable `OCI_SCAN_REPORT` have its absolute path.
    #[arg(long, value_name = "NAME", value_parser = parse_report)]
    report: Option<String>,
    /// The exit code of the scanner that makes the scan a success.
    #[arg(long, value_name = "CODE", default_value_t = 0)]
    expected_exit: u8,
    /// A variable of the scanner's environment.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// The scanner's arguments.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What a scanner reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    /// An image layout, as a directory.
    Layout,
    /// The same as an archive.
    OciArchive,
    /// One image as an archive, as `docker save` writes it.
    DockerArchive,
    /// The root file system of one image, as a directory: without layers, owners and devices.
    Rootfs,
    /// An image of a registry on loopback, by its name: {layout} is HOST:PORT/image:latest.
    Registry,
    /// A list of what is in an image, which is a file of its own (`CycloneDX`, SPDX, syft's): without its files and layers.
    Sbom,
}

/// What the scanner gets, which may be made in the directory `scratch`.
fn subject(
    layout: PathBuf,
    platform: Option<&Platform>,
    input: Option<Input>,
    scratch: &Path,
) -> Result<Scanned> {
    let archived = |format, name| -> Result<Scanned> {
        let file = scratch.join(name);
        archive(&layout, platform, format, &file)?;
        Ok(Scanned::Given(file))
    };
    match input {
        Some(Input::OciArchive) => archived(Format::Oci, "image.oci.tar"),
        Some(Input::DockerArchive) => archived(Format::Docker(&[]), "image.docker.tar"),
        Some(Input::Rootfs) => {
            let unpacked = scratch.join("rootfs");
            unpack(&layout, platform, &unpacked)?;
            Ok(Scanned::Made(unpacked))
        }
        Some(Input::Sbom) => {
            sbom::check(&read(&layout)?)
                .map_err(|error| Failed("scan", layout.display().to_string(), error.into()))?;
            Ok(Scanned::Given(layout))
        }
        Some(Input::Layout | Input::Registry) => {
            let images = LayoutImages::read(&layout)?;
            let is_of_one = images.held.len() == 1 && images.disguised().next().is_none();
            Ok(if platform.is_some() || is_of_one {
                Scanned::Image(layout, Box::new(images.find(platform)?.clone()))
            } else {
                Scanned::Given(layout)
            })
        }
        None if platform.is_some() => {
            let image = find_image(&layout, platform)?;
            Ok(Scanned::Image(layout, Box::new(image)))
        }
        None => Ok(Scanned::Given(layout)),
    }
}

pub(crate) fn scan(args: ScanArgs) -> Result<ExitCode> {
    // First, because it takes a process with one thread.
    let isolation = isolate(args.network)?;
    let scratch = args.scratch.unwrap_or_else(env::temp_dir);
    let scratch = tempfile::tempdir_in(&scratch)
        .map_err(|error| format!("cannot make a directory in {}: {error}", scratch.display()))?;
    let platform = args.platform.as_ref();
    let subject = subject(args.layout, platform, args.input, scratch.path())?;
    let name = args.scanner_name;
    let scan = Scan {
        name: name.unwrap_or_else(|| args.scanner.display().to_string()),
        scanner: args.scanner,
        subject,
        served: args.input == Some(Input::Registry),
        arguments: args.arguments,
        environment: args.env,
        data: args.data,
        inherits: true,
        itself: ITSELF,
        said: None,
        outputs: args.outputs,
        scratch: scratch.path().to_owned(),
        isolation,
        report: args.report,
        expected_exits: vec![args.expected_exit.into()],
    };
    match scan.run() {
        Ok(_) => Ok(ExitCode::SUCCESS),
        // Whoever reads exit codes wants the scanner's.
        Err(error @ ScanError::End { status, .. }) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            print_error(&error);
            Ok(code
                .filter(|code| *code != 0)
                .map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Err(error) => Err(error.into()),
    }
}

/// How this program starts itself to see a scanner to its end.
pub(super) const ITSELF: Itself = Itself {
    command: super::SUPERVISE,
    variable: ARGUMENTS_VARIABLE,
    value: NO_ARGUMENTS,
};

#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    parent: u32,
    status: PathBuf,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn supervise(args: &SuperviseArgs) -> Result<()> {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    command.env_remove(ARGUMENTS_VARIABLE);
    Ok(scan::supervise(args.parent, &args.status, command)?)
}

/// As [`isolate`], for a scanner of what may as well be copied: it needs namespaces only if it could use the network.
pub(super) fn isolate_from_network(network: bool) -> Result<Isolation> {
    let none = Isolation::none(access(network));
    if none.is_kept_from_network() {
        return Ok(none);
    }
    isolate(network)
}

fn access(network: bool) -> Network {
    if network {
        Network::Allowed
    } else {
        Network::Blocked
    }
}

/// Namespaces for the scanner, where the system lets a process have them.
pub(super) fn isolate(network: bool) -> Result<Isolation> {
    let network = access(network);
    let tried = Command::new("/proc/self/exe")
        .env(ARGUMENTS_VARIABLE, NO_ARGUMENTS)
        .arg(super::TRY_NAMESPACES)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        return Ok(Isolation::none(network));
    }
    Isolation::enter(network)
        .map_err(|error| format!("cannot enter namespaces of its own: {error}").into())
}

/// Ends well where `isolate` would.
pub(crate) fn try_namespaces() -> Result<()> {
    Isolation::enter(Network::Blocked)?;
    Ok(())
}

fn parse_report(name: &str) -> std::result::Result<String, String> {
    let mut parts = Path::new(name).components().peekable();
    if parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_))) {
        return Ok(name.to_owned());
    }
    Err("expected the path of a file below the directory for reports".to_owned())
}
