//! What to do about an error, where that is a flag, an environment variable or an attribute of a rule: the
//! library says what is wrong, and knows none of these.

use std::borrow::Cow;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter;

use oci_pull_all::bundle::BundleError;
use oci_pull_all::image::{Difference, ImageError, LayerError};
use oci_pull_all::layout::{ArchiveError, Fault, FaultKind, ImageNotFound, MergeError};
use oci_pull_all::load::LoadError;
use oci_pull_all::oci::reference::Scheme;
use oci_pull_all::outputs::KeptFirst;
use oci_pull_all::pins::{BazelError, PinError};
use oci_pull_all::pull::PullError;
use oci_pull_all::push::PushError;
use oci_pull_all::push::stamp::StampError;
use oci_pull_all::registry::{
    CredentialError, ProxyLogin, Reason, RegistryError, Retry, Subject, Unproxied,
};
use oci_pull_all::rootfs::ChangedParent;
use oci_pull_all::scan::{NetworkIsOpen, ScanError};
use oci_pull_all::store::StoreError;
use oci_pull_all::text::quoted;

type Dyn = dyn Error + 'static;

/// What a pull has met, which has flags that no other command has.
#[derive(Debug, thiserror::Error)]
pub(super) enum OfPull {
    #[error(transparent)]
    WithStore(Box<Dyn>),
    /// What would be the store is in the output.
    #[error(transparent)]
    WithoutStore(Box<Dyn>),
}

/// An error, and what to do about it.
pub(super) fn error_in_words(error: &Dyn) -> String {
    format!("{error}{}", hint(error))
}

/// An error with its causes in one line.
pub(super) fn in_one_line(error: &Dyn) -> String {
    let errors = iter::successors(Some(error), |&error| error.source());
    let words: Vec<String> = errors.map(error_in_words).collect();
    words.join(": ")
}

/// What is wrong with a layout, and what to do about it.
pub(super) fn fault_in_words(fault: &Fault) -> String {
    let hint = match fault.kind {
        FaultKind::Dangling => {
            ". Bazel takes a base's files away when it builds what does not need them: build the layout again, or set blobs = \"file\" for one without links"
        }
        FaultKind::LeftOut | FaultKind::Odd | FaultKind::Wrong => "",
    };
    format!("{fault}{hint}")
}

/// What a directory that nobody named does to the base, and what to do about it.
pub(super) fn change_in_words(change: &ChangedParent) -> String {
    let advice = match change {
        ChangedParent::Link { path, target } => {
            path.as_text().zip(target.as_text()).map(|(path, target)| {
                let usual = ["/bin", "/sbin", "/lib", "/lib32", "/lib64"].contains(&path)
                    && target.trim_start_matches('/') == format!("usr{path}");
                let or = if usual { " or usr_merge = True" } else { "" };
                let (path, target) = (quoted(path), quoted(target));
                format!("set links = {{{path}: {target}}}{or} on the oci_image_layer (--base-link)")
            })
        }
        ChangedParent::NoDirectory { .. } => {
            Some("put it elsewhere, or name it in directories if that is meant".to_owned())
        }
        ChangedParent::Differs {
            parent,
            mode,
            uid,
            gid,
        } => parent.path.as_text().map(|path| {
            let path = quoted(path);
            format!(
                "set parents = {{{path}: \"{mode:04o} {uid}:{gid}\"}} on the oci_image_layer (--parent)"
            )
        }),
    };
    let advice = advice.unwrap_or_else(|| {
        "not all of it is UTF-8, so no attribute can say it: have it in an archive of the layer, as the base has it".to_owned()
    });
    format!("{change}: {advice}")
}

/// The end of an error's sentence; empty where the library has said all.
fn hint(error: &Dyn) -> Cow<'static, str> {
    if let Some(PullError::Platform { offered, alone, .. }) = find(error) {
        let advice = if *alone {
            " (the digest is that of one image; that of the index has more)"
        } else {
            ""
        };
        return format!("; set platforms to some of what it offers: {offered}{advice}").into();
    }
    match error.downcast_ref() {
        Some(OfPull::WithStore(error)) => return of_pull(&**error),
        Some(OfPull::WithoutStore(error)) => return of_output(&**error),
        None => {}
    }
    Cow::Borrowed(if let Some(error) = find::<RegistryError>(error) {
        of_registry(error)
    } else if let Some(error) = find::<StoreError>(error) {
        of_store(error)
    } else if let Some(error) = find::<ArchiveError>(error) {
        of_archive(error)
    } else if let Some(ImageNotFound::Lacks { .. }) = find(error) {
        LACKS
    } else if let Some(MergeError::Incomplete { .. }) = find(error) {
        "; if that is its base's, give the blobs of the base with the same digest and for the same platform by pulled_base (--blob), else pull or export all of the layout again"
    } else if let Some(error) = find::<PullError>(error) {
        match error {
            PullError::Registry(error) => of_registry(error),
            PullError::Store(StoreError::Size { .. }) | PullError::Sizes { .. } => WRONG_SIZE,
            PullError::Store(error) => of_store(error),
            PullError::Manifest { .. }
            | PullError::Image { .. }
            | PullError::Entry { .. }
            | PullError::Artifact { .. }
            | PullError::Walk(_) => ": have it made and pushed anew, or pull another image",
            PullError::Referrers(_) => {
                ": have that removed from the registry, or set referrers = False (without --referrers)"
            }
            // Theirs name a file or directory of this machine, or say what to do.
            PullError::Layout(_)
            | PullError::Io(_)
            | PullError::NotEmpty(_)
            | PullError::Platform { .. }
            | PullError::NoImage { .. }
            // Its cause says it.
            | PullError::Foreign { .. } => "",
        }
    } else if let Some(error) = find::<PushError>(error) {
        match error {
            PushError::Registry(error) => of_registry(error),
            PushError::Store(error) => of_store(error),
            _ => "",
        }
    } else if let Some(error) = find::<BundleError>(error) {
        match error {
            BundleError::Store(error) => of_store(error),
            BundleError::Unreadable(_) => LET_READ,
            BundleError::Write(MergeError::Wrong { .. }) => {
                ": oci-pull-all store verify removes it, and what else was altered; then pull its image again"
            }
            BundleError::Lacks { .. } | BundleError::Part { .. } => {
                ": pull the image first, all of it, or name with --platform what was pulled"
            }
            _ => "",
        }
    } else if let Some(error) = find::<LoadError>(error) {
        match error {
            LoadError::Archive(error) => of_archive(error),
            LoadError::NoLoader => ", or name another program by loader (--loader)",
            LoadError::NoName { .. } => {
                ", by repo_tags (--tag), or where it is made if it is an archive"
            }
            _ => "",
        }
    } else if let Some(error) = find::<StampError>(error) {
        of_stamp(error)
    } else if let Some(ScanError::NoReportName { .. }) = find(error) {
        ": set report = \"NAME\", or --report"
    } else if let Some(ScanError::Network(NetworkIsOpen::Interfaces(_))) = find(error) {
        ". Run it in a sandbox without network, such as Bazel's linux-sandbox, or allow it by network = True (--network)"
    } else if let Some(PinError::NoModule(_)) = find(error) {
        ": name one with --module"
    } else if let Some(BazelError::Start { .. }) = find(error) {
        ": name another program with --bazel"
    } else if let Some(LayerError::Conflict { difference, .. }) = find(error) {
        match difference {
            Difference::Content | Difference::Attribute(_) => "",
            Difference::Mode(..) | Difference::Owner(..) | Difference::Names | Difference::Time => {
                ": say by metadata (--metadata) which it is to have"
            }
        }
    } else if let Some(error) = find::<io::Error>(error) {
        match error.get_ref() {
            Some(inner) if inner.is::<KeptFirst>() => "; set TMPDIR to another directory",
            _ => of_limit(error).unwrap_or_default(),
        }
    } else if let Some(ImageError::NoPlatform) = find(error) {
        ": pass --platform OS/ARCHITECTURE"
    } else {
        ""
    })
}

/// Of what no registry should answer.
const WRONG_ANSWER: &str =
    "; if that comes again, who runs that host, or a proxy before it, has to mend it";
/// Of a size that is another one by the manifest.
const WRONG_SIZE: &str = "; who pushed the image, or who runs that host, has to mend it";

/// Of who speaks TLS, and was spoken to without because the user wants that.
const IN_CLEAR: &str = "; leave plain_http = True (--plain-http) away, or the http:// of a mirror";

fn of_registry(error: &RegistryError) -> &'static str {
    match error {
        RegistryError::Transport { why, .. } => of_no_answer(why.reason()),
        RegistryError::Status { status, .. } | RegistryError::Proxy { status, .. }
            if status.is_of_network() =>
        {
            "; by that, the network on the way wants a login: log in there first"
        }
        RegistryError::Plain { .. } => IN_CLEAR,
        // The library's own last word is about logging in.
        error if error.limits_rate() => "",
        RegistryError::Proxy { .. } => {
            "; correct HTTP_PROXY, or name the registry's host in NO_PROXY"
        }
        RegistryError::Url { .. } => " with --plain-http",
        RegistryError::AccessElsewhere { from, to, .. }
            if from.starts_with("http:") && to.starts_with("https:") =>
        {
            ", without plain_http = True (--plain-http) if that has TLS"
        }
        RegistryError::Length { .. } | RegistryError::Short { .. } | RegistryError::Long { .. } => {
            WRONG_SIZE
        }
        RegistryError::NoObject { .. } | RegistryError::NotTaken { .. } => {
            "; if it is the page of a network or a proxy, log in there first, else who runs that host has to mend it"
        }
        RegistryError::Status { status, .. } if status.is_redirection() => WRONG_ANSWER,
        RegistryError::Local {
            what: Subject::ForeignBlob(_),
            ..
        }
        | RegistryError::NoUrl {
            what: Subject::ForeignBlob(_),
            ..
        } => "; who made the image, or who runs the host that it names, has to mend it",
        // It says itself what it does not like.
        RegistryError::Status {
            retry: Retry::Never,
            ..
        } => "; who runs that host knows why",
        RegistryError::Status { .. }
        | RegistryError::UploadGone { .. }
        | RegistryError::NoLocation { .. }
        | RegistryError::Changed { .. }
        | RegistryError::Idle { .. }
        | RegistryError::TooLarge { .. }
        | RegistryError::Slow { .. }
        | RegistryError::Digest { .. }
        | RegistryError::Told { .. }
        | RegistryError::Transformed { .. }
        | RegistryError::Coding { .. }
        | RegistryError::Damaged { .. }
        | RegistryError::Range { .. }
        | RegistryError::Part { .. }
        | RegistryError::List { .. }
        | RegistryError::NextPage { .. }
        | RegistryError::PageAgain { .. }
        | RegistryError::Pages { .. }
        | RegistryError::Unencrypted { .. }
        | RegistryError::Realm { .. }
        | RegistryError::NoUrl { .. }
        | RegistryError::Redirects { .. }
        | RegistryError::Local { .. } => WRONG_ANSWER,
        RegistryError::Credential(error) => of_credential(error),
        RegistryError::Certificates(..) => ": mend or remove the file that is named",
        // The library says what to do.
        RegistryError::Access { .. }
        | RegistryError::AccessElsewhere { .. }
        | RegistryError::NotFound { .. }
        | RegistryError::NoRepository { .. }
        | RegistryError::ReadOnly { .. }
        | RegistryError::Location { .. }
        | RegistryError::Token { .. }
        // Whose bytes they are says it.
        | RegistryError::Body { .. }
        // The machine's own.
        | RegistryError::Client(_) => "",
    }
}

fn of_no_answer(reason: Reason) -> &'static str {
    match reason {
        Reason::UnknownAuthority => {
            "; if that is an authority of your own, or of a proxy, set SSL_CERT_FILE to a PEM file with its certificate"
        }
        Reason::UnfitAuthority => {
            "; check this machine's clock, else have a newer certificate of that authority in that file"
        }
        Reason::OwnCertificate => {
            "; if it is to be shown a certificate, or another one, put NAME.cert and NAME.key into ~/.config/containers/certs.d/HOST:PORT"
        }
        Reason::NoTls => {
            "; if it is meant to speak plain HTTP, set plain_http = True (--plain-http HOST)"
        }
        Reason::NoTlsElsewhere => "; who does so has to mend it",
        Reason::ProxyLogin(ProxyLogin::Missing) => {
            "; write one into the variable that names it, such as HTTPS_PROXY, before the host: USER:PASSWORD@HOST:PORT"
        }
        Reason::ProxyLogin(ProxyLogin::Refused) => {
            "; correct it in the variable that names it, such as HTTPS_PROXY"
        }
        Reason::ProxyLogin(ProxyLogin::Unasked) => {
            "; take it out of the variable that names it, such as HTTPS_PROXY"
        }
        Reason::Proxy => {
            "; correct HTTPS_PROXY (HTTP_PROXY for plain HTTP), or name the host in NO_PROXY"
        }
        Reason::Connect(unproxied) => of_connection(unproxied),
        Reason::ConnectElsewhere(unproxied) => of_connection_elsewhere(unproxied),
        Reason::Plain => IN_CLEAR,
        Reason::NoHttp => "; check its port, else who runs that host has to mend it",
        Reason::Tls => "; who runs that host has to mend it",
        Reason::Certificate => {
            "; check the host's name and this machine's clock, else who runs the host has to mend it"
        }
        Reason::Other => WRONG_ANSWER,
    }
}

/// Of no connection to who the user has named. Loopback is never asked for by a proxy.
fn of_connection(unproxied: Option<Unproxied>) -> &'static str {
    match unproxied {
        Some(Unproxied::Unnamed(Scheme::Https)) => {
            "; check the registry's name and the network; if only a proxy leads there, set HTTPS_PROXY"
        }
        Some(Unproxied::Unnamed(Scheme::Http)) => {
            "; check the registry's name and the network; if only a proxy leads there, set HTTP_PROXY"
        }
        Some(Unproxied::Excluded) => {
            "; check the registry's name and the network; if only a proxy leads there, take it out of NO_PROXY"
        }
        Some(Unproxied::Loopback) | None => "; check the registry's name and port",
    }
}

/// The same of where others lead.
fn of_connection_elsewhere(unproxied: Option<Unproxied>) -> &'static str {
    match unproxied {
        Some(Unproxied::Unnamed(Scheme::Https)) => {
            "; check the network; if only a proxy leads there, set HTTPS_PROXY"
        }
        Some(Unproxied::Unnamed(Scheme::Http)) => {
            "; check the network; if only a proxy leads there, set HTTP_PROXY"
        }
        Some(Unproxied::Excluded) => {
            "; check the network; if only a proxy leads there, take it out of NO_PROXY"
        }
        Some(Unproxied::Loopback) | None => WRONG_ANSWER,
    }
}

fn of_credential(error: &CredentialError) -> &'static str {
    match error {
        CredentialError::Read(_) | CredentialError::Json { .. } | CredentialError::Shape(_) => {
            "; mend it, or name another one by docker_config (--docker-config)"
        }
        CredentialError::HelperName { .. } => "; correct it there",
        CredentialError::HelperFailed { .. } => {
            "; mend the helper, or take it out of credsStore and credHelpers and log in again"
        }
        CredentialError::Auth { .. }
        | CredentialError::Encoding { .. }
        | CredentialError::HelperSpawn { .. } => "",
    }
}

fn of_store(error: &StoreError) -> &'static str {
    match error {
        StoreError::Read(failure) | StoreError::Write(failure) | StoreError::Remove(failure) => {
            of_file_in_store(error, &failure.source)
        }
        StoreError::Room { source, .. } if of_limit(source).is_some() => "",
        StoreError::Room { .. } => {
            ": make room there, or set OCI_PULL_ALL_STORE (--store) to another directory"
        }
        StoreError::Lost(_) => {
            ". Pull its image again; oci-pull-all store verify tells what else was altered"
        }
        StoreError::Version { .. } => ": use another one with --store or OCI_PULL_ALL_STORE",
        StoreError::NotAStore { .. } => ", with --store or OCI_PULL_ALL_STORE",
        _ => "",
    }
}

/// Of what a store has and nobody may read.
const LET_READ: &str = ", which the store needs: let it be read, or set OCI_PULL_ALL_STORE (--store) to another directory";

/// What must be allowed for what was tried in a store.
fn of_file_in_store(error: &StoreError, refusal: &io::Error) -> &'static str {
    if of_limit(refusal).is_some() {
        return ", which the store needs";
    }
    match (error, refusal.kind()) {
        (_, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            ", which the store needs: make room there, or set OCI_PULL_ALL_STORE (--store) to another directory"
        }
        (StoreError::Remove(_), ErrorKind::DirectoryNotEmpty) => ": move away what is in it",
        (StoreError::Remove(_), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            ": let the directory that it is in be written, or set OCI_PULL_ALL_STORE (--store) to another store"
        }
        (StoreError::Read(_), ErrorKind::PermissionDenied) => LET_READ,
        (_, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            ", which the store needs: let it be written, or set OCI_PULL_ALL_STORE (--store) to another directory"
        }
        _ => {
            ", which the store needs: put right what is there, or set OCI_PULL_ALL_STORE (--store) to another directory"
        }
    }
}

/// Which of this process's limits an error of the system is about.
#[cfg(target_os = "linux")]
fn of_limit(error: &io::Error) -> Option<&'static str> {
    use rustix::io::Errno;
    use rustix::process::Resource;

    Some(match Errno::from_io_error(error)? {
        Errno::FBIG if is_limited(Resource::Fsize) => {
            "; raise the limit of the size of a file (ulimit -f)"
        }
        Errno::FBIG => "; no file of that file system may be so large: name a place on another one",
        Errno::MFILE => "; raise the limit of open files (ulimit -n)",
        Errno::NOMEM if is_limited(Resource::As) || is_limited(Resource::Data) => {
            "; raise the limit of memory (ulimit -v, ulimit -d)"
        }
        Errno::NOMEM => {
            "; free memory, or raise the limit of memory of the container or the service"
        }
        _ => return None,
    })
}

#[cfg(not(target_os = "linux"))]
fn of_limit(_: &io::Error) -> Option<&'static str> {
    None
}

/// What may keep this process from having another thread: the system answers all of it alike.
#[cfg(target_os = "linux")]
pub(super) fn limits_of_threads() -> String {
    use rustix::process::Resource;

    let known = [
        (Resource::Nproc, "ulimit -u"),
        (Resource::As, "ulimit -v"),
        (Resource::Data, "ulimit -d"),
    ];
    let set = known.into_iter().filter(|(which, _)| is_limited(*which));
    let words: Vec<&str> = set
        .map(|(_, word)| word)
        .chain(["that of the container or the service (pids)"])
        .collect();
    words.join(", ")
}

#[cfg(not(target_os = "linux"))]
pub(super) fn limits_of_threads() -> String {
    "ulimit -u".to_owned()
}

#[cfg(target_os = "linux")]
fn is_limited(which: rustix::process::Resource) -> bool {
    rustix::process::getrlimit(which).current.is_some()
}

/// As [`hint`], where there may be mirrors.
fn of_pull(error: &Dyn) -> Cow<'static, str> {
    let of_registry = match find(error) {
        Some(PullError::Registry(error)) => Some(error),
        _ => find(error),
    };
    match of_registry {
        Some(error) if error.limits_rate() => ", or name a mirror in OCI_PULL_ALL_MIRRORS".into(),
        _ => hint(error),
    }
}

/// As [`of_pull`], where what would be a store is in the output.
fn of_output(error: &Dyn) -> Cow<'static, str> {
    let of_store = match find(error) {
        Some(PullError::Store(error)) => Some(error),
        _ => find(error),
    };
    match of_store {
        Some(StoreError::Room { .. }) => {
            ": make room there, or name another directory by --output".into()
        }
        Some(StoreError::Read(_) | StoreError::Write(_) | StoreError::Remove(_)) => {
            ": put right what is there, or name another directory by --output".into()
        }
        _ => of_pull(error),
    }
}

fn of_stamp(error: &StampError) -> &'static str {
    match error {
        StampError::Unknown { .. } => {
            ". A program that --workspace_status_command names can add it"
        }
        StampError::Empty { name, .. } if name == "BUILD_EMBED_LABEL" => ": --embed_label sets it",
        _ => "",
    }
}

fn of_archive(error: &ArchiveError) -> &'static str {
    match error {
        ArchiveError::Lacks { .. } => LACKS,
        _ => "",
    }
}

/// Of a layout that lacks what it needs.
const LACKS: &str = "; if that is a layout without its base's layers, make it whole with oci_complete_layout, else pull or export all of it again";

/// The error itself, in a box or not.
fn find<T: Error + 'static>(error: &Dyn) -> Option<&T> {
    let boxed = || error.downcast_ref::<Box<T>>().map(Box::as_ref);
    error.downcast_ref().or_else(boxed)
}

#[cfg(test)]
mod tests {
    use oci_pull_all::push::stamp::BuildStatus;
    use oci_pull_all::store::{Store, Trust};

    use super::*;

    #[test]
    fn a_store_that_cannot_be_used_is_told_how_to_be_avoided() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("version"), "3\n").unwrap();
        let error = Store::open(directory.path(), Trust::Seal).unwrap_err();
        assert!(
            error_in_words(&error).contains("OCI_PULL_ALL_STORE"),
            "{error}"
        );
        // The same where it is the cause of another error, and where it is in a box.
        let error = PullError::from(error);
        assert!(
            error_in_words(&error).contains("OCI_PULL_ALL_STORE"),
            "{error}"
        );
        let error = Box::new(error);
        assert!(
            error_in_words(&error).contains("OCI_PULL_ALL_STORE"),
            "{error}"
        );
    }

    #[test]
    fn what_fills_in_a_status_is_named() {
        let mut status = BuildStatus::default();
        status.add("BUILD_EMBED_LABEL \n");
        let error = status.fill("{BUILD_EMBED_LABEL}").unwrap_err();
        assert!(error_in_words(&error).ends_with(": --embed_label sets it"));
        let error = status.fill("{STABLE}").unwrap_err();
        assert!(error_in_words(&error).contains("--workspace_status_command"));
    }
}
