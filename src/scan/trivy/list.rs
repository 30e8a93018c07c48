//! What `trivy image` lists: CycloneDX with properties of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::json::to_json;
use crate::oci::strict;
use crate::scan::inventory::{Package, Scanner, System, known};
use crate::scan::preset::{AnswerError, PackageList};
use crate::scan::purl::qualifier;

#[derive(Deserialize)]
struct Bom {
    metadata: BomMetadata,
    components: Option<Vec<Component>>,
    dependencies: Option<Vec<Dependency>>,
}

#[derive(Deserialize)]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(rename = "dependsOn")]
    others: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct BomMetadata {
    tools: BomTools,
}

#[derive(Deserialize)]
struct BomTools {
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "bom-ref")]
    reference: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    group: Option<String>,
    name: String,
    version: Option<String>,
    purl: Option<String>,
    properties: Option<Vec<Property>>,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    value: String,
}

impl Component {
    fn properties(&self, name: &str) -> impl Iterator<Item = &str> {
        let properties = self.properties.iter().flatten();
        let named = properties.filter(move |property| {
            property.name.strip_prefix("aquasecurity:trivy:") == Some(name)
        });
        named.map(|property| property.value.as_str())
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.properties(name).next()
    }

    /// The repositories of Red Hat's that it is from, and the build, as a database has them.
    fn sources(&self) -> BTreeSet<String> {
        let repositories = self.properties("ContentSet").map(without_number);
        let mut sources: BTreeSet<String> = repositories.map(str::to_owned).collect();
        if let (Some(build), Some(architecture)) = (self.property("NVR"), self.property("Arch")) {
            sources.insert(format!("{build}-{architecture}"));
        }
        sources
    }

    fn full_name(&self) -> String {
        match self.group.as_deref() {
            Some(group) if !group.is_empty() => {
                let purl = self.purl.as_deref().unwrap_or_default();
                let separator = if purl.starts_with("pkg:maven/") {
                    ':'
                } else {
                    '/'
                };
                format!("{group}{separator}{}", self.name)
            }
            _ => self.name.clone(),
        }
    }
}

/// A repository without the number of a release that the build of an image puts behind its name.
fn without_number(repository: &str) -> &str {
    match repository.rsplit_once("__") {
        Some((name, number))
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => repository,
    }
}

/// Reads a list that Trivy wrote.
pub(super) fn read_list(cyclonedx: &[u8]) -> Result<PackageList, AnswerError> {
    let bom: Bom = strict::read(cyclonedx)?;
    let components = bom.components.unwrap_or_default();
    let dependencies = bom.dependencies.unwrap_or_default();
    let files = files(&components, &dependencies);
    let system = components
        .iter()
        .find(|component| component.kind == "operating-system");
    let system = system.map(|component| System {
        family: component.name.clone(),
        release: known(component.version.clone()),
        ..System::default()
    });
    let family = system.as_ref().map(|system| system.family.clone());
    // What it calls a system that it does not know.
    let mut system = system.filter(|system| system.family != "none");
    let mut packages = BTreeMap::new();
    let mut sources = BTreeSet::new();
    for component in &components {
        let (Some(reference), Some(kind)) = (&component.reference, component.property("PkgType"))
        else {
            continue;
        };
        // It calls packages of a system by the system.
        let of_system = Some(kind) == family.as_deref();
        if of_system {
            sources.insert(component.sources());
        }
        let purl = known(component.purl.clone());
        let file = || files.get(&**reference).copied();
        let path = component.property("FilePath").or_else(file);
        let package = Package {
            kind: kind.to_owned(),
            of_system,
            name: component.full_name(),
            version: known(component.version.clone()),
            architecture: match &purl {
                Some(purl) if of_system => qualifier(purl, "arch"),
                _ => None,
            },
            path: known(path.map(str::to_owned)),
            purl,
            layer: known(component.property("LayerDiffID").map(str::to_owned)),
        };
        packages.insert(reference.clone(), package);
    }
    if let Some(system) = &mut system
        && sources.iter().any(|sources| !sources.is_empty())
    {
        system.sources = sources;
    }
    let tool = bom.metadata.tools.components.into_iter().next();
    Ok(PackageList {
        system,
        packages,
        scanner: Scanner {
            name: "trivy".to_owned(),
            version: known(tool.and_then(|tool| tool.version)),
            created: None,
        },
    })
}

/// The files that packages are listed in, such as programs and lock files, by the packages' references.
fn files<'a>(
    components: &'a [Component],
    dependencies: &'a [Dependency],
) -> BTreeMap<&'a str, &'a str> {
    let others: BTreeMap<&str, &Option<Vec<String>>> = dependencies
        .iter()
        .map(|dependency| (&*dependency.reference, &dependency.others))
        .collect();
    let mut files = BTreeMap::new();
    for file in components {
        let Some(reference) = file
            .reference
            .as_deref()
            .filter(|_| file.kind == "application")
        else {
            continue;
        };
        let mut rest = vec![reference];
        while let Some(reference) = rest.pop() {
            for other in others
                .get(reference)
                .copied()
                .into_iter()
                .flatten()
                .flatten()
            {
                if files.insert(&**other, &*file.name).is_none() {
                    rest.push(other);
                }
            }
        }
    }
    files
}

/// The list without what differs from run to run: the time, random identifiers, and the order that follows these.
pub(super) fn normalized(cyclonedx: &[u8]) -> Result<Vec<u8>, AnswerError> {
    let mut bom: Map<String, Value> = strict::read(cyclonedx)?;
    bom.remove("serialNumber");
    let mut names = BTreeMap::new();
    if let Some(Value::Object(metadata)) = bom.get_mut("metadata") {
        metadata.remove("timestamp");
        if let Some(Value::Object(component)) = metadata.get_mut("component") {
            // The path by which it was scanned.
            component.insert("name".to_owned(), "image".into());
            rename(component, &mut names);
        }
    }
    if let Some(Value::Array(components)) = bom.get_mut("components") {
        components.sort_by_cached_key(|component| {
            let mut component = component.clone();
            if let Value::Object(component) = &mut component {
                component.remove("bom-ref");
            }
            component.to_string()
        });
        for component in components {
            if let Value::Object(component) = component {
                rename(component, &mut names);
            }
        }
    }
    if let Some(Value::Array(dependencies)) = bom.get_mut("dependencies") {
        for dependency in dependencies.iter_mut() {
            if let Some(reference) = dependency.get_mut("ref") {
                respell(reference, &names);
            }
            if let Some(Value::Array(others)) = dependency.get_mut("dependsOn") {
                for other in others.iter_mut() {
                    respell(other, &names);
                }
                others.sort_by_cached_key(Value::to_string);
            }
        }
        dependencies.sort_by_cached_key(Value::to_string);
    }
    Ok(to_json(&bom))
}

/// Gives a component a reference that its place tells.
fn rename(component: &mut Map<String, Value>, names: &mut BTreeMap<String, String>) {
    let name = format!("component-{}", names.len());
    if let Some(Value::String(old)) = component.insert("bom-ref".to_owned(), name.clone().into()) {
        names.insert(old, name);
    }
}

fn respell(reference: &mut Value, names: &BTreeMap<String, String>) {
    let new = reference.as_str().and_then(|old| names.get(old));
    if let Some(new) = new.cloned() {
        *reference = new.into();
    }
}
