//! Lists of what is in an image (`CycloneDX`, SPDX, syft's own), as far as a scanner could do nothing with one.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::oci::strict;

use super::purl::Purl;

/// Why a scan of a list would say nothing.
#[derive(Debug, thiserror::Error)]
pub enum NoSbom {
    /// It is no JSON.
    #[error("it is no JSON")]
    Json(#[from] serde_json::Error),
    /// It is none of the forms.
    #[error("it is neither of CycloneDX nor of SPDX nor of syft")]
    Form,
    /// There is nothing in it.
    #[error("it lists no package")]
    Empty,
    /// It lost what scanners look packages of a system up by.
    #[error("it has packages of a system ({0}, say), and does not say of which")]
    NoSystem(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: Option<String>,
    spdx_version: Option<String>,
    components: Option<Vec<Component>>,
    packages: Option<Vec<SpdxPackage>>,
    artifacts: Option<Vec<Artifact>>,
    distro: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    purl: Option<String>,
    /// What is in it.
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    name: Option<String>,
    primary_package_purpose: Option<String>,
    external_refs: Option<Vec<ExternalRef>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_type: Option<String>,
    reference_locator: Option<String>,
}

#[derive(Deserialize)]
struct Artifact {
    purl: Option<String>,
}

/// What a list has, in whatever form.
#[derive(Default)]
struct Listed {
    /// Whether it names a system.
    has_system: bool,
    purls: Vec<String>,
}

/// The types of package URLs whose packages belong to a system.
const OF_SYSTEM: [&str; 5] = ["pkg:alpm/", "pkg:apk/", "pkg:deb/", "pkg:opkg/", "pkg:rpm/"];

/// Makes sure that a list has packages, and says what system those of a system are of.
pub fn check(bytes: &[u8]) -> Result<(), NoSbom> {
    let document: Document = strict::read(bytes)?;
    let mut listed = Listed::default();
    if document.bom_format.is_some() {
        listed.add_components(document.components);
    } else if document.spdx_version.is_some() {
        listed.add_packages(document.packages);
    } else if let Some(artifacts) = document.artifacts {
        let id = document.distro.and_then(|mut distro| distro.remove("id"));
        listed.has_system = id.is_some_and(|id| id.as_str().is_some_and(|id| !id.is_empty()));
        listed.purls = artifacts.into_iter().filter_map(|of| of.purl).collect();
    } else {
        return Err(NoSbom::Form);
    }
    if listed.purls.is_empty() {
        return Err(NoSbom::Empty);
    }
    if listed.has_system {
        return Ok(());
    }
    // A package URL may say it for itself.
    let says_nothing = |purl: &String| {
        Purl::parse(purl).is_some_and(|purl| {
            let is_of_system = OF_SYSTEM.iter().any(|kind| purl.name.starts_with(kind));
            is_of_system && purl.qualifier("distro").is_none()
        })
    };
    match listed.purls.into_iter().find(says_nothing) {
        Some(purl) => Err(NoSbom::NoSystem(purl)),
        None => Ok(()),
    }
}

impl Listed {
    /// Those of `CycloneDX`, which may be nested.
    fn add_components(&mut self, components: Option<Vec<Component>>) {
        let mut left = components.unwrap_or_default();
        while let Some(component) = left.pop() {
            self.add_system("operating-system", component.kind, component.name);
            self.purls.extend(component.purl);
            left.extend(component.components.into_iter().flatten());
        }
    }

    fn add_packages(&mut self, packages: Option<Vec<SpdxPackage>>) {
        for package in packages.unwrap_or_default() {
            self.add_system(
                "OPERATING-SYSTEM",
                package.primary_package_purpose,
                package.name,
            );
            let refs = package.external_refs.into_iter().flatten();
            let purls = refs.filter(|of| of.reference_type.as_deref() == Some("purl"));
            self.purls
                .extend(purls.filter_map(|of| of.reference_locator));
        }
    }

    /// A system that has no name is none.
    fn add_system(&mut self, system: &str, kind: Option<String>, name: Option<String>) {
        let is_system = kind.is_some_and(|kind| kind.eq_ignore_ascii_case(system));
        self.has_system |= is_system && name.is_some_and(|name| !name.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(document: &Value) -> Result<(), String> {
        check(document.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_has_packages_and_their_system() {
        let debian = "pkg:deb/debian/openssl@3.0.9-1?arch=amd64";
        let of_debian = format!("{debian}&distro=debian-12");
        let purl = |purl: &str| json!({"referenceType": "purl", "referenceLocator": purl});
        for good in [
            json!({"bomFormat": "CycloneDX", "components": [{"purl": of_debian}]}),
            json!({"bomFormat": "CycloneDX", "components": [{"purl": debian}, {"type": "operating-system", "name": "debian"}]}),
            json!({"bomFormat": "CycloneDX", "components": [{"purl": "pkg:pypi/jinja2@1"}]}),
            json!({"spdxVersion": "SPDX-2.3", "packages": [{}, {"externalRefs": [purl(&of_debian)]}]}),
            json!({"spdxVersion": "SPDX-2.3", "packages": [
                {"primaryPackagePurpose": "OPERATING-SYSTEM", "name": "debian"}, {"externalRefs": [purl(debian)]},
            ]}),
            json!({"artifacts": [{"purl": debian}], "distro": {"id": "debian"}}),
            json!({"bomFormat": "CycloneDX", "components": [{"components": [{"purl": of_debian}]}]}),
        ] {
            assert_eq!(checked(&good), Ok(()), "{good}");
        }
        let no_system =
            format!("it has packages of a system ({debian}, say), and does not say of which");
        for (bad, problem) in [
            (
                json!({}),
                "it is neither of CycloneDX nor of SPDX nor of syft",
            ),
            (json!({"bomFormat": "CycloneDX"}), "it lists no package"),
            (
                json!({"spdxVersion": "SPDX-2.3", "packages": [{}]}),
                "it lists no package",
            ),
            (
                json!({"artifacts": [], "distro": {"id": "debian"}}),
                "it lists no package",
            ),
            (
                json!({"bomFormat": "CycloneDX", "components": [{"purl": debian}]}),
                &no_system,
            ),
            (
                json!({"artifacts": [{"purl": debian}], "distro": {}}),
                &no_system,
            ),
        ] {
            assert_eq!(checked(&bad), Err(problem.to_owned()), "{bad}");
        }
        // Who says nothing of the system, in whatever way.
        for purl in [
            "pkg:DEB/debian/a@1",
            "PKG:deb/debian/a@1",
            "pkg://deb/debian/a@1",
            "pkg:deb/debian/a@1?distro=",
            "pkg:deb/debian/a@1?notdistro=debian-12",
            "pkg:deb/debian/a@1#distro=debian-12",
        ] {
            for components in [
                json!([{"purl": purl}]),
                json!([{"purl": purl}, {"type": "operating-system", "name": ""}]),
                json!([{"purl": "pkg:pypi/b@1", "components": [{"purl": purl}]}]),
            ] {
                let bad = json!({"bomFormat": "CycloneDX", "components": components});
                let problem = checked(&bad).unwrap_err();
                assert!(
                    problem.contains("does not say of which"),
                    "{bad}: {problem}"
                );
            }
        }
        let bad = json!({"artifacts": [{"purl": debian}], "distro": {"id": ""}});
        assert_eq!(checked(&bad), Err(no_system.clone()));
        assert!(check(b"").is_err());
    }
}
