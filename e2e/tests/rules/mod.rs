//! The rules, on a real Bazel.

mod airgap;
mod bazel_next;
mod errors;
mod fifty;
mod layouts;
mod lockfile;
mod mirrors;
mod on_demand;
mod pin;
mod platforms;
mod push;
mod reference;
mod release;
mod setups;
mod starlark;
mod tool;
