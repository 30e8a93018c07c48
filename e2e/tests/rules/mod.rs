//! The rules, on a real Bazel.

mod airgap;
mod artifacts;
mod cargo;
mod errors;
mod fifty;
mod layers;
mod layouts;
mod lockfile;
mod many;
mod mirrors;
mod no_linux;
mod on_demand;
mod pin;
mod platforms;
mod push;
mod reference;
mod starlark;
