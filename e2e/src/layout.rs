//! Layouts that Bazel builds.

use std::path::Path;

use crate::new_user;

/// The layouts that the case `layouts` makes.
pub const LAYOUTS: [&str; 8] = [
    "explicit_layout",
    "files_layout",
    "no_base_layout",
    "on_docker_layout",
    "compressions_layout",
    "stacked_layout",
    "index_layout",
    "base_layout",
];

/// Has the program verify a layout.
///
/// # Panics
/// If it finds something wrong.
pub fn verify(layout: &Path) {
    new_user().verify(layout);
}
