//! What a Bazel workspace pins: images and artifacts, by a tag for people and a digest for Bazel.
//!
//! What is declared, Bazel tells, because it evaluates the files (`declared`, `repository_rules`); where the digests
//! stand, their texts tell (`module_files`).

mod declared;
mod module_files;
mod repository_rules;
mod starlark;

pub use declared::{BadDeclaration, Declared, Pinned, of_extension};
pub use module_files::{MODULE_FILE, ModuleFiles, Move, PinError, Refusal, Target};
pub use repository_rules::{Bazel, BazelError};
