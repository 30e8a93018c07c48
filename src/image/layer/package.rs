//! What tells scanners of a Debian package, whose files do not: the record of it that distroless images have
//! (deb(5), deb-control(5)).

use std::collections::BTreeMap;
use std::path::Path;

use crate::io::drain;
use crate::tar::{Archive, Content, Packing, TarError, copy_data, open_control};

use super::{LayerError, packing_of};

/// Where records are: a file for each package, which has no Status, and one with the digests of its files.
const RECORDS: &str = "var/lib/dpkg/status.d";
const DIGESTS: &str = ".md5sums";

/// The most that the files may have that are read of a package, in MiB.
const MAX_CONTROL: u64 = 4;
const MAX_DIGESTS: u64 = 64;

/// The longest name of a package or an architecture: of both a record has its name, of which Linux takes 255 bytes.
const MAX_PART: usize = 120;

/// Why a layer cannot record a Debian package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// What tells of it cannot be read.
    #[error("its control.tar cannot be used")]
    Archive(#[from] TarError),
    /// Nothing tells of it.
    #[error("its control.tar has no file control")]
    NoControl,
    /// A file that tells of it is larger than any.
    #[error("{name:?} in its control.tar has more than the limit of {limit} MiB")]
    TooLarge {
        /// The file.
        name: &'static str,
        /// The most that it may have.
        limit: u64,
    },
    /// Another thing may be told of it to each reader.
    #[error("its control has an empty line, so more than one stanza")]
    Stanzas,
    /// A line that is no part of a stanza.
    #[error("line {0} of its control is no field")]
    Line(usize),
    /// Two values for one thing.
    #[error("line {0} of its control is a field that it has already")]
    Twice(usize),
    /// A field that each package has.
    #[error("its control has no {0}")]
    Missing(&'static str),
    /// A value that would be part of a path.
    #[error("its control has the {field} {value:?}, which none can have")]
    Value {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// A field with which scanners may pass over it.
    #[error("its control has a Status, which only dpkg gives a package")]
    Status,
    /// It is a package for another system.
    #[error("it is a udeb, which is for Debian's installer: take the .deb")]
    Udeb,
}

/// The files of a layer, by their paths, that record what is in an archive: none if that is no Debian package.
pub(super) fn records(path: &Path) -> Result<Vec<(String, Vec<u8>)>, LayerError> {
    if packing_of(path)? != Packing::Debian {
        return Ok(Vec::new());
    }
    let is_udeb = path.extension().is_some_and(|ending| ending == "udeb");
    let records = if is_udeb {
        Err(PackageError::Udeb)
    } else {
        read(path)
    };
    records.map_err(|source| LayerError::Package {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<(String, Vec<u8>)>, PackageError> {
    let (mut control, mut digests) = (None, None);
    let mut archive = Archive::new(open_control(path).map_err(TarError::Read)?);
    while let Some(entry) = archive.next()? {
        let (file, name, limit) = match &entry.path[..] {
            b"control" => (&mut control, "control", MAX_CONTROL),
            b"md5sums" => (&mut digests, "md5sums", MAX_DIGESTS),
            _ => continue,
        };
        let Content::File { size } = entry.content else {
            continue;
        };
        if size > limit << 20 {
            return Err(PackageError::TooLarge { name, limit });
        }
        let mut data = Vec::new();
        copy_data(&mut archive, size, &mut data)?;
        *file = Some(data);
    }
    // The checksum is behind the entries.
    drain(archive.into_inner()).map_err(TarError::Read)?;
    let control: Vec<u8> = control.ok_or(PackageError::NoControl)?;
    let start = control.iter().take_while(|byte| **byte == b'\n').count();
    let stanza = control[start..].trim_ascii_end();
    let name = name_of_record(&String::from_utf8_lossy(stanza))?;
    let path = format!("{RECORDS}/{name}");
    let mut records = vec![(path.clone(), [stanza, b"\n"].concat())];
    records.extend(digests.map(|digests| (path + DIGESTS, digests)));
    Ok(records)
}

/// What dpkg calls the files of the package that a stanza tells of.
fn name_of_record(stanza: &str) -> Result<String, PackageError> {
    let fields = fields(stanza)?;
    let field = |name: &str| fields.get(&name.to_ascii_lowercase()).copied();
    let is = |name: &str, value: &str| {
        field(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    let required = |name: &'static str| {
        let value = field(name).filter(|value| !value.is_empty());
        value.ok_or(PackageError::Missing(name))
    };
    if is("Package-Type", "udeb") {
        return Err(PackageError::Udeb);
    }
    if field("Status").is_some() {
        return Err(PackageError::Status);
    }
    let package = part_of_name(required, "Package", "+-._")?;
    required("Version")?;
    // Packages of two architectures may be there at once, and then dpkg has both names.
    if is("Multi-Arch", "same") {
        let architecture = part_of_name(required, "Architecture", "-")?;
        return Ok(format!("{package}:{architecture}"));
    }
    Ok(package.to_owned())
}

/// A field of which dpkg, too, takes but letters, digits and `others`, which it does not begin with.
fn part_of_name<'a>(
    required: impl Fn(&'static str) -> Result<&'a str, PackageError>,
    field: &'static str,
    others: &str,
) -> Result<&'a str, PackageError> {
    let value = required(field)?;
    let is_plain = |character: char| character.is_ascii_alphanumeric();
    let is_part = value.len() <= MAX_PART
        && value.starts_with(is_plain)
        && value.chars().all(|one| is_plain(one) || others.contains(one))
        // Scanners would take its record for another's digests.
        && !value.ends_with(DIGESTS);
    is_part.then_some(value).ok_or_else(|| PackageError::Value {
        field,
        value: value.chars().take(MAX_PART).collect(),
    })
}

/// The fields of a stanza by their names in small letters, each with the first line of its value.
fn fields(stanza: &str) -> Result<BTreeMap<String, &str>, PackageError> {
    let mut fields = BTreeMap::new();
    for (line, number) in stanza.lines().zip(1..) {
        if line.trim().is_empty() {
            return Err(PackageError::Stanzas);
        }
        if line.starts_with([' ', '\t']) && !fields.is_empty() {
            continue;
        }
        let field = line.split_once(':');
        let field = field.map(|(name, value)| (name.trim_end(), value.trim()));
        let is_name = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
        let field = field.filter(|(name, _)| is_name(name));
        let (name, value) = field.ok_or(PackageError::Line(number))?;
        if fields.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(PackageError::Twice(number));
        }
    }
    Ok(fields)
}
