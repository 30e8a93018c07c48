//! Layers as they are compressed (OCI image spec, layer.md).

use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::files::open_regular;
use crate::io::Tee;
use crate::oci::descriptor::Compression;
use crate::oci::digest::{Algorithm, Digest, HashingWriter};

/// Gives `work` what a layer's blob decompresses to; also returns the digest of the whole blob,
/// however much of it `work` has read.
pub(crate) fn read_layer<T, E: From<io::Error>>(
    path: &Path,
    algorithm: Algorithm,
    compression: Compression,
    work: impl FnOnce(Box<dyn Read + '_>) -> Result<T, E>,
) -> io::Result<(Digest, Result<T, E>)> {
    let hasher = HashingWriter::new(algorithm, io::sink());
    let mut raw = Tee::new(open_regular(path)?, hasher);
    let buffered = BufReader::with_capacity(256 * 1024, &mut raw);
    let done = match decompress(buffered, compression) {
        Ok(reader) => work(reader),
        Err(error) => Err(error.into()),
    };
    // What was left unread is part of the blob all the same.
    io::copy(&mut raw, &mut io::sink())?;
    let (_, digest, _) = raw.into_writer().finish();
    Ok((digest, done))
}

/// Reads what a layer's blob decompresses to.
pub(crate) fn decompress<'a>(
    reader: impl io::BufRead + 'a,
    compression: Compression,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    })
}
