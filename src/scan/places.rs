//! Where package managers keep what an image says of its system's packages.

use crate::rootfs::is_name;

/// Where an image says of which system it is (os-release(5)).
pub(super) const RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// What a file there has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Packages, which have this type in a package URL.
    Database(&'static str, Format),
    /// The paths of what a package of dpkg's brought.
    DpkgList,
    /// The same, each behind its digest.
    DpkgDigests,
    /// The same of the package beside it.
    StatusDigests,
    /// The paths of what the package of pacman's beside it brought.
    PacmanFiles,
    /// From where Alpine's packages come (apk-repositories(5)).
    Repositories,
}

/// How a database says which packages there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// dpkg's and opkg's.
    Dpkg,
    /// apk's.
    Apk,
    /// pacman's, a file for each package.
    Pacman,
    /// Portage's, a directory for each package.
    Portage,
    /// One of rpm's.
    Rpm,
    /// One that is not read here.
    Other,
    /// The same, of a manager that may be there beside that of the system.
    Beside,
}

impl Format {
    /// Whether it is read here.
    pub(super) fn is_read(self) -> bool {
        !matches!(self, Format::Other | Format::Beside)
    }
}

/// The places: paths, in each name of which one `*` may stand for any part. What is behind others counts where both are of one file.
pub(super) const PLACES: &[(&str, Role)] = &[
    (
        "var/lib/pacman/local/*/desc",
        Role::Database("alpm", Format::Pacman),
    ),
    ("var/lib/pacman/local/*/files", Role::PacmanFiles),
    // SteamOS.
    (
        "usr/lib/holo/pacmandb/local/*/desc",
        Role::Database("alpm", Format::Pacman),
    ),
    ("usr/lib/holo/pacmandb/local/*/files", Role::PacmanFiles),
    ("lib/apk/db/installed", Role::Database("apk", Format::Apk)),
    (
        "usr/lib/apk/db/installed",
        Role::Database("apk", Format::Apk),
    ),
    ("etc/apk/repositories", Role::Repositories),
    ("etc/apk/repositories.d/*.list", Role::Repositories),
    ("lib/apk/repositories.d/*.list", Role::Repositories),
    ("usr/lib/apk/repositories.d/*.list", Role::Repositories),
    ("var/lib/dpkg/status", Role::Database("deb", Format::Dpkg)),
    ("usr/lib/dpkg/status", Role::Database("deb", Format::Dpkg)),
    (
        "var/lib/dpkg/status.d/*",
        Role::Database("deb", Format::Dpkg),
    ),
    ("var/lib/dpkg/status.d/*.md5sums", Role::StatusDigests),
    ("var/lib/dpkg/info/*.list", Role::DpkgList),
    ("var/lib/dpkg/info/*.md5sums", Role::DpkgDigests),
    // What chisel cut out of Ubuntu's packages.
    (
        "var/lib/chisel/manifest.wall",
        Role::Database("deb", Format::Other),
    ),
    ("lib/opkg/status", Role::Database("opkg", Format::Dpkg)),
    ("opt/lib/opkg/status", Role::Database("opkg", Format::Dpkg)),
    ("usr/lib/opkg/status", Role::Database("opkg", Format::Dpkg)),
    ("var/lib/opkg/status", Role::Database("opkg", Format::Dpkg)),
    (
        "usr/lib/sysimage/rpm/Packages",
        Role::Database("rpm", Format::Rpm),
    ),
    (
        "usr/lib/sysimage/rpm/Packages.db",
        Role::Database("rpm", Format::Rpm),
    ),
    (
        "usr/lib/sysimage/rpm/rpmdb.sqlite",
        Role::Database("rpm", Format::Rpm),
    ),
    ("usr/share/rpm/Packages", Role::Database("rpm", Format::Rpm)),
    (
        "usr/share/rpm/Packages.db",
        Role::Database("rpm", Format::Rpm),
    ),
    (
        "usr/share/rpm/rpmdb.sqlite",
        Role::Database("rpm", Format::Rpm),
    ),
    ("var/lib/rpm/Packages", Role::Database("rpm", Format::Rpm)),
    (
        "var/lib/rpm/Packages.db",
        Role::Database("rpm", Format::Rpm),
    ),
    (
        "var/lib/rpm/rpmdb.sqlite",
        Role::Database("rpm", Format::Rpm),
    ),
    (
        "var/lib/rpmmanifest/container-manifest-2",
        Role::Database("rpm", Format::Rpm),
    ),
    // Gentoo.
    (
        "var/db/pkg/*/*/CONTENTS",
        Role::Database("ebuild", Format::Portage),
    ),
    // Solus and Pardus, FreeBSD, Slackware, Clear Linux, Void Linux.
    (
        "var/lib/eopkg/package/*/metadata.xml",
        Role::Database("eopkg", Format::Other),
    ),
    (
        "var/lib/pisi/package/*/metadata.xml",
        Role::Database("pisi", Format::Other),
    ),
    (
        "var/db/pkg/local.sqlite",
        Role::Database("freebsd", Format::Other),
    ),
    (
        "var/lib/pkgtools/packages/*",
        Role::Database("slackware", Format::Other),
    ),
    (
        "usr/share/clear/bundles/*",
        Role::Database("swupd", Format::Other),
    ),
    (
        "var/db/xbps/pkgdb-*.plist",
        Role::Database("xbps", Format::Other),
    ),
    ("gnu/store/*", Role::Database("guix", Format::Beside)),
    ("nix/store/*", Role::Database("nix", Format::Beside)),
    (
        "var/lib/flatpak/app/*",
        Role::Database("flatpak", Format::Beside),
    ),
    (
        "var/lib/snapd/snaps/*.snap",
        Role::Database("snap", Format::Beside),
    ),
];

/// Whether a file is to be read, by a path on which there are no links.
pub(super) fn is_read(path: &str) -> bool {
    let is_read = |role: &Role| !matches!(role, Role::Database(_, format) if !format.is_read());
    let mut places = PLACES.iter().filter(|(_, role)| is_read(role));
    RELEASE.contains(&path) || places.any(|(pattern, _)| is_at(pattern, path))
}

/// Whether a path is that of a place.
fn is_at(pattern: &str, path: &str) -> bool {
    let mut names = path.split('/');
    let are_there = pattern.split('/').all(|part| {
        names
            .next()
            .is_some_and(|name| is_name(part.as_bytes(), name.as_bytes()))
    });
    are_there && names.next().is_none()
}
