//! What a manifest is: an image, or an artifact that nobody takes for one (OCI image spec, manifest.md, "Guidelines for
//! Artifact Usage", and what runtimes make of it).

use crate::oci::config::{ConfigError, ImageConfig, MAX_CONFIG_SIZE, has_members};
use crate::oci::descriptor::{Descriptor, Kind, MediaType};
use crate::oci::digest::Digest;
use crate::oci::manifest::ImageManifest;
use crate::oci::platform::Platform;

/// Why a manifest of what should be an image is none.
#[derive(Debug, thiserror::Error)]
pub enum BadImage {
    /// It says not what it is for.
    #[error(
        "its config {digest} does not say for which os and architecture its layers are: some tools run them on their own"
    )]
    Unnamed {
        /// The config.
        digest: Digest,
    },
    /// It has an image's config, and something else than a file system among its layers.
    #[error(
        "by its config it is an image, but its layer {layer} is of the media type {media_type}, which is no layer's: some tools run it all the same"
    )]
    Layer {
        /// The first such layer.
        layer: Digest,
        /// What it says to be.
        media_type: MediaType,
    },
    /// It is an image, and listed for no platform.
    #[error(
        "by its config it is an image for {platform}, but its index lists it for an unknown one, as what is no image: who names its digest runs it all the same"
    )]
    Hidden {
        /// What it is for.
        platform: Box<Platform>,
    },
    /// Its config is of no use.
    #[error("its config {digest} cannot be used")]
    Config {
        /// The config.
        digest: Digest,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// Its config tells of other layers.
    #[error("its config {digest} has {diff_ids} diff_ids, but it has {layers} layers")]
    DiffIds {
        /// The config.
        digest: Digest,
        /// Entries in the config.
        diff_ids: usize,
        /// Entries in the manifest.
        layers: usize,
    },
}

impl ImageManifest {
    /// The first layer that is not of a file system: what has one is an artifact, whatever its config is.
    pub(crate) fn other_layer(&self) -> Option<&Descriptor> {
        let mut layers = self.layers.iter();
        layers.find(|layer| !layer.is_file_system())
    }

    /// Whether its config calls itself an image's.
    fn claims_to_be_image(&self) -> bool {
        self.config.media_type.kind() == Kind::Config
    }

    /// Whether its config must tell what it is.
    pub(crate) fn may_be_image(&self) -> bool {
        self.config.size <= MAX_CONFIG_SIZE || self.config.media_type.is_config_to_docker()
    }

    /// Whether there is a layer that a runtime unpacks for its media type.
    fn has_unpacked_layer(&self) -> bool {
        self.layers
            .iter()
            .any(|layer| layer.media_type.is_unpacked())
    }

    /// Whether podman unpacks its layers, whatever their media types are, or its config's where it is Docker's, and counts no
    /// `diff_id`.
    fn is_podmans(&self) -> bool {
        let is_its_form = if self.media_type == MediaType::DOCKER_MANIFEST {
            let mut layers = self.layers.iter();
            layers.all(|layer| layer.media_type.is_dockers_to_podman())
        } else {
            self.config.media_type == MediaType::OCI_CONFIG
        };
        is_its_form && !self.layers.is_empty()
    }

    /// Whether podman runs it, though this is no image by [`ImageManifest::image`]: it can read the config, and unpack all
    /// layers, of which `content` says whether they hold anything, if it can be unpacked.
    pub(crate) fn is_run_by_podman(
        &self,
        config: &[u8],
        content: impl FnMut(&Descriptor) -> Option<bool>,
    ) -> bool {
        let is_read = || ImageConfig::parse(config).is_ok() || has_members(config, &[]);
        if !self.is_podmans() || !is_read() {
            return false;
        }
        let layers: Option<Vec<bool>> = self.layers.iter().map(content).collect();
        layers.is_some_and(|layers| layers.contains(&true))
    }

    /// The image's config if this is an image and no artifact: its layers are of file
    /// systems, and its config is an image's with a `diff_id` for each of them.
    ///
    /// `config` are the config's bytes, and `listed` is what the index says that it is for, which counts more
    /// than what the config says: one image may be listed for several platforms. What others may take for an
    /// image, and is none by this, is an error: what calls its config an image's, and has another; what has an image's
    /// config, and other layers, of which a runtime unpacks some; what says nowhere for which platform the layers are that a
    /// runtime unpacks; and an image that is listed for what no machine is, which no scan of the index's platforms would see.
    pub fn image(
        &self,
        config: &[u8],
        listed: Option<&Platform>,
    ) -> Result<Option<ImageConfig>, BadImage> {
        let told = listed.filter(|listed| !listed.is_unknown());
        let is_hidden = listed.is_some() && told.is_none();
        if !self.may_be_image() {
            return Ok(None);
        }
        let other_layer = self.other_layer();
        // What nobody unpacks, nobody runs.
        let is_unpacked = self.has_unpacked_layer();
        if other_layer.is_some() && !is_unpacked && !self.is_podmans() {
            return Ok(None);
        }
        let is_doubtful = is_hidden || other_layer.is_some();
        let claims =
            self.claims_to_be_image() && other_layer.is_none() && (is_unpacked || !is_hidden);
        let digest = self.config.digest.clone();
        let read = match ImageConfig::parse(config) {
            Ok(read) => read,
            Err(source) => {
                // What nobody else says for which platform it is, it must say itself.
                let parts: &[_] = if is_doubtful && told.is_none() {
                    &["rootfs", "os", "architecture"]
                } else {
                    &["rootfs"]
                };
                return if claims || (!self.layers.is_empty() && has_members(config, parts)) {
                    Err(BadImage::Config { digest, source })
                } else {
                    Ok(None)
                };
            }
        };
        let (diff_ids, layers) = (read.diff_ids.len(), self.layers.len());
        let is_unknown = told.unwrap_or(&read.platform).is_unknown();
        if is_doubtful {
            // Some count all layers, some those that they know, and some none where the config calls itself an image's. What
            // has none of these is a module, or the disk of a machine.
            let is_run = if is_unpacked {
                diff_ids > 0 || self.claims_to_be_image()
            } else {
                diff_ids > 0 && read.platform.architecture != "wasm"
            };
            // Of nothing, nothing can be run.
            if layers == 0 || !is_run {
                return Ok(None);
            }
            if is_unknown {
                return if is_unpacked {
                    Err(BadImage::Unnamed { digest })
                } else {
                    Ok(None)
                };
            }
            let platform = Box::new(read.platform);
            return Err(match other_layer.filter(|_| !is_hidden) {
                Some(layer) => BadImage::Layer {
                    layer: layer.digest.clone(),
                    media_type: layer.media_type.clone(),
                },
                None => BadImage::Hidden { platform },
            });
        }
        match (is_unknown, diff_ids == layers) {
            (false, true) => Ok(Some(read)),
            (true, _) if layers == 0 => Ok(None),
            (true, true) => Err(BadImage::Unnamed { digest }),
            (_, false) if claims => Err(BadImage::DiffIds {
                digest,
                diff_ids,
                layers,
            }),
            (_, false) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::manifest::Manifest;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// A manifest with these layers, and a config of a media type.
    fn manifest(config_type: &str, layers: &str) -> ImageManifest {
        let config = format!(r#"{{"mediaType":"{config_type}","digest":"{EMPTY}","size":0}}"#);
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
        match Manifest::parse(text.as_bytes(), None).unwrap() {
            Manifest::Image(image) => image,
            Manifest::Index(_) => panic!("an image manifest"),
        }
    }

    fn told(
        media_type: &str,
        layers: &str,
        config: &str,
        listed: Option<&str>,
    ) -> Result<Option<String>, String> {
        let image = manifest(media_type, layers);
        let listed = listed.map(|listed| listed.parse().unwrap());
        image
            .image(config.as_bytes(), listed.as_ref())
            .map(|config| config.map(|config| config.platform.to_string()))
            .map_err(|error| error.to_string())
    }

    /// Others run it by its digest, whatever is wrong with its config.
    #[test]
    fn what_says_that_it_is_an_image_is_not_hidden_by_its_config() {
        let layer = |media_type: &str| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{EMPTY}","size":1}}"#)
        };
        let oci = MediaType::OCI_CONFIG;
        let unknown = Some("unknown/unknown");
        let image = layer("application/vnd.oci.image.layer.v1.tar");
        let error = told(oci.as_str(), &image, "null", unknown).unwrap_err();
        assert!(error.contains("does not say for which os"), "{error}");
        for config in [r#"{"a":1,"a":2}"#, r#"{"history":null,"History":[]}"#] {
            let error = told(oci.as_str(), &image, config, unknown).unwrap_err();
            assert!(error.contains("cannot be used"), "{config}: {error}");
            let attestation = layer("application/vnd.in-toto+json");
            assert_eq!(told(oci.as_str(), &attestation, config, unknown), Ok(None));
        }
    }

    #[test]
    fn an_image_is_told_from_manifest_and_config() {
        let oci = MediaType::OCI_CONFIG;
        let layer = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{EMPTY}","size":1}}"#
        );
        let statement = layer.replace("vnd.oci.image.layer.v1.tar", "vnd.in-toto+json");
        let platform = r#""os":"linux","architecture":"amd64""#;
        let config = format!(r#"{{{platform},"rootfs":{{"diff_ids":["{EMPTY}"]}}}}"#);
        let amd64 = Ok(Some("linux/amd64".to_owned()));
        for media_type in [
            oci.as_str(),
            "",
            "application/json",
            "application/octet-stream",
        ] {
            assert_eq!(
                told(media_type, &layer, &config, None),
                amd64,
                "{media_type}"
            );
            // containerd and Docker go by the media types of layers, of which Docker knows old ones, too.
            let nameless = layer.replace("vnd.oci.image.layer.v1.tar", "octet-stream");
            let erofs = layer.replace("vnd.oci.image.layer.v1.tar", "vnd.erofs.layer.v1+zstd");
            for platform in [None, Some("linux/amd64")] {
                for (layer, is_run) in [
                    (&nameless, true),
                    (&erofs, true),
                    (&statement, media_type == oci.as_str()),
                ] {
                    let told = told(media_type, layer, &config, platform);
                    let is_told = told.is_err_and(|error| error.contains(", which is no layer's"));
                    assert_eq!(is_told, is_run, "{media_type} {layer}");
                }
            }
            let listed = Some("linux/amd64/v1");
            assert!(told(media_type, &layer, &config, listed).unwrap().is_some());
            // Go reads all of these.
            let deep = format!(r#"{{"deep":{}{}"#, "[".repeat(200), "]".repeat(200));
            for more in [&deep, r#"{"author":"\ud800""#] {
                let config = config.replacen('{', &format!("{more},"), 1);
                for layer in [&layer, &nameless] {
                    let error = told(media_type, layer, &config, None).unwrap_err();
                    assert!(error.contains("cannot be used"), "{error}");
                }
            }
            let error = told(media_type, &nameless, &format!("{config}{{}}"), None).unwrap_err();
            assert!(error.contains("cannot be used"), "{error}");
            let unknown = Some("unknown/unknown");
            for layer in [&layer, &nameless] {
                let error = told(media_type, layer, &config, unknown).unwrap_err();
                assert!(error.contains("an image for linux/amd64"), "{error}");
                // Go reads the last of two.
                let twice = config.replace(r#""os""#, r#""os":"windows","os""#);
                let error = told(media_type, layer, &twice, unknown).unwrap_err();
                assert!(error.contains("cannot be used"), "{error}");
            }
            // containerd takes the layers that it knows, and podman all of them, whatever the config counts.
            let both = format!("{layer},{statement}");
            for platform in [None, Some("linux/amd64")] {
                let error = told(media_type, &both, &config, platform).unwrap_err();
                assert!(error.contains("vnd.in-toto+json"), "{error}");
            }
            let error = told(media_type, &both, &config, unknown).unwrap_err();
            assert!(error.contains("an image for linux/amd64"), "{error}");
            let uncounted = format!("{{{platform}}}");
            let uncounted = told(media_type, &both, &uncounted, None);
            assert_eq!(
                uncounted.is_err(),
                media_type == oci.as_str(),
                "{media_type}"
            );
            let unlike = config.replace("linux", "unknown");
            // Some run what does not say for what it is.
            let unnamed = config.replace(platform, r#""os":"","architecture":"amd64""#);
            for (config, listed) in [(&unnamed, None), (&unlike, unknown)] {
                let error = told(media_type, &layer, config, listed).unwrap_err();
                assert!(error.contains("does not say for which os"), "{error}");
            }
            assert_eq!(told(media_type, "", "{}", None), Ok(None));
        }
        for media_type in ["", "application/json"] {
            assert_eq!(told(media_type, &layer, "{}", None), Ok(None));
        }
        let error = told(oci.as_str(), &layer, "{}", None).unwrap_err();
        assert!(error.contains("0 diff_ids"), "{error}");
        assert_eq!(told("", &layer, "[]", None), Ok(None));
        assert!(told(oci.as_str(), &layer, "[]", None).is_err());
        let error = told(oci.as_str(), "", &config, None).unwrap_err();
        assert!(error.contains("1 diff_ids"), "{error}");
        assert_eq!(told("a/b", "", &config, None), Ok(None));
    }

    /// The configs of artifacts, as those write them who make them.
    #[test]
    fn artifacts_are_no_images() {
        let artifact = |config_type: &str, config: &str, layer_type: &str, listed: Option<&str>| {
            let layer = format!(r#"{{"mediaType":"{layer_type}","digest":"{EMPTY}","size":1}}"#);
            let image = manifest(config_type, &layer);
            let listed = listed.map(|listed| listed.parse().unwrap());
            image.image(config.as_bytes(), listed.as_ref()).unwrap()
        };
        let oci = MediaType::OCI_CONFIG;
        let rootfs = format!(r#""rootfs":{{"type":"layers","diff_ids":["{EMPTY}"]}}"#);
        let signature = format!(r#"{{"architecture":"","os":"","config":{{}},{rootfs}}}"#);
        let statement = signature.replace("\"\"", "\"unknown\"");
        let image = format!(r#"{{"architecture":"amd64","os":"linux",{rootfs}}}"#);
        let model = rootfs.replace("layers", "rootfs");
        let model = format!(r#"{{"config":{{"format":"gguf"}},"descriptor":{{}},{model}}}"#);
        let module = r#"{"created":"2026-01-01T00:00:00Z","architecture":"wasm","os":"wasip2","layerDigests":["sha256:x"]}"#;
        for (config_type, config, layer_type) in [
            (
                "application/vnd.cncf.helm.config.v1+json",
                r#"{"name":"x","version":"1","apiVersion":"v2"}"#,
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            ),
            (
                oci.as_str(),
                &signature,
                "application/vnd.dev.cosign.simplesigning.v1+json",
            ),
            (
                "application/json",
                &signature,
                "application/vnd.dev.cosign.simplesigning.v1+json",
            ),
            (
                oci.as_str(),
                "{}",
                "application/vnd.dev.cosign.simplesigning.v1+json",
            ),
            (oci.as_str(), &statement, "application/vnd.in-toto+json"),
            (
                "application/vnd.aquasec.trivy.config.v1+json",
                "{}",
                "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip",
            ),
            (
                MediaType::OCI_EMPTY.as_str(),
                "{}",
                "application/octet-stream",
            ),
            (
                "application/vnd.wasm.config.v0+json",
                module,
                "application/wasm",
            ),
            (
                "application/vnd.docker.ai.model.config.v0.1+json",
                &model,
                "application/vnd.docker.ai.gguf.v3",
            ),
            // Ollama's.
            (
                "application/vnd.docker.container.image.v1+json",
                &image,
                "application/vnd.ollama.image.model",
            ),
            // A module as Docker runs it, and as Spin does.
            (
                oci.as_str(),
                &image.replace("linux", "wasi").replace("amd64", "wasm"),
                "application/vnd.wasm.content.layer.v1+wasm",
            ),
            (
                oci.as_str(),
                r#"{"os":"wasip1","architecture":"wasm","rootfs":{"diff_ids":[]}}"#,
                "application/vnd.fermyon.spin.application.v1+config",
            ),
            // The disk of a machine, as Tart keeps it.
            (
                oci.as_str(),
                r#"{"os":"darwin","architecture":"arm64"}"#,
                "application/vnd.cirruslabs.tart.disk.v2",
            ),
            ("application/x", "no JSON", "application/x"),
            ("application/x", "{ name: x, rootfs: y }", "application/x"),
            ("application/x", "{\"a\":1}\n{\"os\":2}\n", "application/x"),
            (
                "application/vnd.cncf.helm.config.v1+json",
                r#"{"annotations":{"a":"1","a":"2"}}"#,
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            ),
        ] {
            // podman unpacks all layers where the config is OCI's, and an index says for what.
            let listed = Some("linux/amd64").filter(|_| config_type != oci.as_str());
            for listed in [None, Some("unknown/unknown"), listed] {
                assert_eq!(
                    artifact(config_type, config, layer_type, listed),
                    None,
                    "{config}"
                );
            }
        }
    }
}
