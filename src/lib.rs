//! Pulls whole container images as OCI image layouts, and builds and merges such layouts.
//!
//! The rooms of the house are drawn in `docs/architecture.md`; a room imports those of the floors below
//! it. [`oci`] has the documents of the OCI specifications, [`registry`] and [`store`] are what blobs come
//! from and go through, [`layout`], [`image`] and [`rootfs`] what they become, and [`pull`](mod@pull),
//! [`push`](mod@push), [`bundle`], [`load`](mod@load), [`scan`] and [`pins`] what is done with all of that.
//!
//! An image is pulled into a directory like this:
//!
//! ```
//! use std::sync::Arc;
//!
//! use oci_pull_all::layout::{VerifyOptions, verify};
//! use oci_pull_all::oci::reference::Reference;
//! use oci_pull_all::progress::{Reporter, Silent};
//! use oci_pull_all::pull::{Selection, Upstream, pull};
//! use oci_pull_all::registry::{Client, RegistryOptions};
//! use oci_pull_all::store::{Store, Trust};
//!
//! # use std::io::{Read as _, Write as _};
//! # use std::net::TcpListener;
//! # use oci_pull_all::oci::descriptor::{Descriptor, MediaType};
//! #
//! # /// Answers requests for a manifest or a blob on a port of loopback; returns the image's name.
//! # fn registry() -> std::io::Result<String> {
//! #     let config = r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#;
//! #     let config_of = Descriptor::of(MediaType::OCI_CONFIG, config.as_bytes());
//! #     let manifest = serde_json::json!({"schemaVersion": 2, "config": config_of, "layers": []}).to_string();
//! #     let root = Descriptor::of(MediaType::OCI_MANIFEST, manifest.as_bytes());
//! #     let listener = TcpListener::bind("127.0.0.1:0")?;
//! #     let name = format!("{}/app@{}", listener.local_addr()?, root.digest);
//! #     let contents = [
//! #         (format!("GET /v2/app/manifests/{} ", root.digest), manifest),
//! #         (format!("GET /v2/app/blobs/{} ", config_of.digest), config.to_owned()),
//! #     ];
//! #     std::thread::spawn(move || {
//! #         for connection in listener.incoming() {
//! #             let mut connection = connection.unwrap();
//! #             let mut request = [0; 4096];
//! #             let length = connection.read(&mut request).unwrap_or(0);
//! #             let asked = |(line, _): &&(String, String)| request[..length].starts_with(line.as_bytes());
//! #             let answer = match contents.iter().find(asked) {
//! #                 Some((_, text)) => format!("200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()),
//! #                 None => "404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
//! #             };
//! #             let _ = write!(connection, "HTTP/1.1 {}", answer.replacen("\r\n", "\r\nConnection: close\r\n", 1));
//! #         }
//! #     });
//! #     Ok(name)
//! # }
//! #
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let name = registry()?;
//! # let directory = tempfile::tempdir()?;
//! # let (cache, output) = (directory.path().join("cache"), directory.path().join("image"));
//! let image: Reference = name.parse()?; // REGISTRY/REPOSITORY@DIGEST
//! let digest = image.digest().ok_or("a pull is by digest")?.clone();
//! let origin = Client::new(image.repository().clone(), RegistryOptions::default());
//! let upstream = Arc::new(Upstream::new(origin, []));
//! let store = Arc::new(Store::open(&cache, Trust::Seal)?);
//! let reporter: Arc<dyn Reporter> = Arc::new(Silent);
//! let selection = Selection::default();
//! let pulled = pull(&upstream, &store, &digest, &selection, &output, &reporter).await?;
//! assert_eq!(pulled.blobs, 2);
//! assert_eq!(verify(&output, VerifyOptions::default()).faults, []);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod bundle;
pub mod files;
pub mod image;
mod io;
pub mod json;
pub mod layout;
pub mod load;
pub mod oci;
pub mod outputs;
pub mod pins;
pub mod progress;
pub mod pull;
pub mod push;
pub mod registry;
pub mod rootfs;
pub mod scan;
pub mod store;
pub mod tar;
pub mod text;
