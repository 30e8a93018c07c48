//! `resolve`: the lines for MODULE.bazel that pin what tags point to now.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use oci_pull_all::oci::digest::{Algorithm, Digest};
use oci_pull_all::oci::platform::Platform;
use oci_pull_all::oci::reference::{Reference, Tag};
use oci_pull_all::progress::{Reporter, Silent};
use oci_pull_all::pull::{self, DescribedKind, Description, Selection, Upstream};
use oci_pull_all::registry::Client;
use oci_pull_all::store::{Store, Trust};
use oci_pull_all::text::{named, quoted, shown};

use super::hints::in_one_line;
use super::pull::{RegistryArgs, transfer};
use super::store::{self, StoreLocation};
use super::{Failed, Result, print_error, say, tell};

/// What the module extension and the pulled repositories keep for themselves, and what repositories are called that most
/// workspaces have.
const RESERVED: [&str; 7] = [
    "bazel_tools",
    "blobs",
    "files",
    "oci_pins",
    "oci_pull_all",
    "oci_pulled_toolchains",
    "platforms",
];

#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// The images and artifacts: REGISTRY/REPOSITORY[:TAG][@DIGEST]. With a digest, that one is pinned, and a tag beside it
    /// is told if it points elsewhere by now.
    #[arg(required = true)]
    references: Vec<Reference>,
    #[command(flatten)]
    store: StoreLocation,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What a reference points to now.
struct Resolved<'a> {
    reference: &'a Reference,
    digest: Digest,
    description: Description,
}

pub(crate) fn resolve(args: &ResolveArgs) -> Result<()> {
    transfer(2, resolve_all(args))
}

async fn resolve_all(args: &ResolveArgs) -> Result<()> {
    let store = Arc::new(store::open(&args.store.path()?, Trust::Seal)?);
    let mut all: Vec<Resolved<'_>> = Vec::new();
    let mut failures = Vec::new();
    for (number, reference) in args.references.iter().enumerate() {
        if args.references[..number].contains(reference) {
            continue;
        }
        match look_up(args, &store, reference).await {
            Ok(resolved) => all.push(resolved),
            Err(error) => failures.push(Failed("resolve", reference.to_string(), error)),
        }
    }
    // What is known of some is no less true without the others.
    if !all.is_empty() {
        say(module_lines(&all).trim_end())?;
    }
    let last = failures.pop();
    for failure in &failures {
        print_error(failure);
    }
    last.map_or(Ok(()), |failure| Err(failure.into()))
}

async fn look_up<'a>(
    args: &ResolveArgs,
    store: &Arc<Store>,
    reference: &'a Reference,
) -> Result<Resolved<'a>> {
    let reporter: Arc<dyn Reporter> = Arc::new(Silent);
    let origin = Client::new(reference.repository().clone(), args.registry.options()?);
    // A tag is what its registry says, and no mirror.
    let upstream = Arc::new(Upstream::new(origin, []));
    let current = async |tag: &Tag, algorithm| {
        pull::resolve(upstream.origin(), store, tag, algorithm, &reporter).await
    };
    let digest = match (reference.digest(), reference.tag()) {
        (Some(digest), None) => digest.clone(),
        (Some(digest), Some(tag)) => {
            match current(tag, digest.algorithm()).await {
                Ok(current) if current == *digest => {}
                Ok(current) => tell(format_args!(
                    "warning: the tag {tag} of {reference} points to {current} by now"
                )),
                Err(error) => tell(format_args!(
                    "warning: it cannot be told where the tag {tag} of {reference} points to: {}",
                    in_one_line(&error)
                )),
            }
            digest.clone()
        }
        (None, tag) => {
            let tag = tag.cloned().unwrap_or_else(Tag::latest);
            current(&tag, Algorithm::Sha256).await?
        }
    };
    let selection = Selection {
        shallow: true,
        ..Selection::default()
    };
    Ok(Resolved {
        reference,
        description: pull::describe(&upstream, store, &digest, &selection, &reporter).await?,
        digest,
    })
}

fn module_lines(all: &[Resolved<'_>]) -> String {
    let mut lines =
        "oci = use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\")\n".to_owned();
    let mut names = BTreeSet::new();
    for resolved in all {
        let name = name(resolved.reference, &names);
        lines += &pull_lines(resolved, &name);
        names.insert(name);
    }
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let _ = writeln!(lines, "use_repo(oci, {})", names.join(", "));
    lines
}

/// A name for the repository: that of the image's last part, and of its tag or a number where that is taken.
fn name(reference: &Reference, taken: &BTreeSet<String>) -> String {
    let last = reference
        .repository()
        .path()
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let word = |text: &str| -> String {
        let characters = text.chars();
        characters
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect()
    };
    let plain = word(last);
    // Bazel wants a letter first.
    let has_letter = plain.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = if has_letter {
        plain
    } else {
        format!("oci_{plain}")
    };
    let mut tagged = reference
        .tag()
        .map(|tag| format!("{plain}_{}", word(tag.as_str())));
    let mut name = plain.clone();
    let mut number = 1;
    while !is_free(&name, taken) {
        name = tagged.take().unwrap_or_else(|| {
            number += 1;
            format!("{plain}_{number}")
        });
    }
    name
}

/// Whether the module extension takes a name beside others, each of which makes two repositories.
fn is_free(name: &str, taken: &BTreeSet<String>) -> bool {
    let whole = name.strip_suffix("_all");
    !RESERVED.contains(&name)
        && !taken.contains(name)
        && !taken.contains(&format!("{name}_all"))
        && !whole.is_some_and(|name| taken.contains(name))
}

fn pull_lines(resolved: &Resolved<'_>, name: &str) -> String {
    let Resolved {
        reference,
        digest,
        description,
    } = resolved;
    let image = reference.repository().to_string();
    let mut attributes = vec![("name", quoted(name)), ("image", quoted(&image))];
    if let Some(tag) = reference.tag() {
        attributes.push(("tag", quoted(tag.as_str())));
    }
    attributes.push(("digest", quoted(&digest.to_string())));
    let mut lines = format!("# {}\noci.pull(\n", description_in_words(description));
    for (attribute, value) in attributes {
        let _ = writeln!(lines, "    {attribute} = {value},");
    }
    if let DescribedKind::Images(platforms) = &description.kind
        && platforms.len() > 1
    {
        lines += "    platforms = [\n";
        for platform in names_of(platforms) {
            let _ = writeln!(lines, "        {},", quoted(&platform));
        }
        lines += "    ],\n";
    }
    lines + ")\n"
}

/// The platforms, each once: Windows has several images for one platform, which differ in the system's version.
fn names_of(platforms: &[Platform]) -> Vec<String> {
    let mut known = HashSet::new();
    let names = platforms.iter().map(name_of);
    names.filter(|name| known.insert(name.clone())).collect()
}

fn name_of(platform: &Platform) -> String {
    let Platform {
        os,
        architecture,
        variant,
        ..
    } = platform;
    let variant = variant.as_ref().map(|variant| format!("/{variant}"));
    format!("{os}/{architecture}{}", variant.unwrap_or_default())
}

/// As [`names_of`], and how many images there are for one where that may be more than one: most tools take the first.
fn counted(platforms: &[Platform]) -> impl Iterator<Item = String> {
    let mut counts: HashMap<_, usize> = HashMap::new();
    for platform in platforms {
        *counts.entry(platform.machine()).or_default() += 1;
    }
    names_of(platforms).into_iter().map(move |name| {
        let of_name = |platform: &&Platform| name_of(platform) == name;
        let of_name = platforms.iter().filter(of_name);
        let count = of_name.map(|platform| counts[&platform.machine()]).max();
        match count {
            Some(count) if count > 1 => format!("{name} ({count} images for it)"),
            _ => name,
        }
    })
}

/// What something is, in a line.
pub(super) fn description_in_words(description: &Description) -> String {
    let mut words = match &description.kind {
        DescribedKind::Images(platforms) => {
            format!("an image for {}", named(counted(platforms)))
        }
        DescribedKind::Artifact(artifact) => {
            let files: Vec<&str> = artifact.files.iter().map(|file| &*file.path).collect();
            let files = match &files[..] {
                [] => "no file".to_owned(),
                files => named(files),
            };
            format!("an artifact, {}, with {files}", artifact.artifact_type)
        }
    };
    if let Some(created) = &description.dates.newest {
        let _ = write!(words, "; created {}", created.date_naive());
    }
    shown(&words)
}
