//! Lists of what is in an image (`CycloneDX`, SPDX, syft's own), as far as a scanner could do nothing with one.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::oci::strict;

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
    purl: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
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

/// The types of package URLs whose packages belong to a system.
const OF_SYSTEM: [&str; 5] = ["pkg:alpm/", "pkg:apk/", "pkg:deb/", "pkg:opkg/", "pkg:rpm/"];

/// Makes sure that a list has packages, and says what system those of a system are of.
pub fn check(bytes: &[u8]) -> Result<(), NoSbom> {
    let document: Document = strict::read(bytes)?;
    let components = document.components.unwrap_or_default();
    let packages = document.packages.unwrap_or_default();
    let is_system = |kind: Option<&String>, system: &str| {
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(system))
    };
    let (names_system, purls): (bool, Vec<Option<String>>) = if document.bom_format.is_some() {
        let system = |of: &Component| is_system(of.kind.as_ref(), "operating-system");
        let named = components.iter().any(system);
        (named, components.into_iter().map(|of| of.purl).collect())
    } else if document.spdx_version.is_some() {
        let system =
            |of: &SpdxPackage| is_system(of.primary_package_purpose.as_ref(), "OPERATING-SYSTEM");
        let named = packages.iter().any(system);
        (named, packages.into_iter().map(SpdxPackage::purl).collect())
    } else if let Some(artifacts) = document.artifacts {
        let named = document
            .distro
            .is_some_and(|distro| distro.contains_key("id"));
        (named, artifacts.into_iter().map(|of| of.purl).collect())
    } else {
        return Err(NoSbom::Form);
    };
    let mut purls = purls.iter().flatten().peekable();
    if purls.peek().is_none() {
        return Err(NoSbom::Empty);
    }
    let is_of_system = |purl: &&String| OF_SYSTEM.iter().any(|kind| purl.starts_with(kind));
    // A package URL may say it for itself.
    let says_nothing = |purl: &&String| is_of_system(purl) && !purl.contains("distro=");
    match purls.find(says_nothing) {
        Some(purl) if !names_system => Err(NoSbom::NoSystem(purl.clone())),
        _ => Ok(()),
    }
}

impl SpdxPackage {
    fn purl(self) -> Option<String> {
        let refs = self.external_refs.into_iter().flatten();
        let mut purls = refs.filter(|of| of.reference_type.as_deref() == Some("purl"));
        purls.next()?.reference_locator
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
            json!({"bomFormat": "CycloneDX", "components": [{"purl": debian}, {"type": "operating-system"}]}),
            json!({"bomFormat": "CycloneDX", "components": [{"purl": "pkg:pypi/jinja2@1"}]}),
            json!({"spdxVersion": "SPDX-2.3", "packages": [{}, {"externalRefs": [purl(&of_debian)]}]}),
            json!({"spdxVersion": "SPDX-2.3", "packages": [
                {"primaryPackagePurpose": "OPERATING-SYSTEM"}, {"externalRefs": [purl(debian)]},
            ]}),
            json!({"artifacts": [{"purl": debian}], "distro": {"id": "debian"}}),
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
        assert!(check(b"").is_err());
    }
}
