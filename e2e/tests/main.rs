//! A real Bazel, real registries and other people's programs.

mod docs;
mod interop;
mod rules;
mod system;
