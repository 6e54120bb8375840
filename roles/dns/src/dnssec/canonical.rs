//! The canonical form of records, and the bytes that a signature is made of (RFC 4034 §6, §3.1.8.1): pure.

use hickory_proto::ProtoError;
use hickory_proto::dnssec::rdata::SigInput;
use hickory_proto::rr::{DNSClass, Name, RData};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// The data of a record set in canonical form and order, without repetitions (RFC 4034 §6.2, §6.3).
pub fn data<'a>(data: impl IntoIterator<Item = &'a RData>) -> Result<Vec<Vec<u8>>, ProtoError> {
    let mut all = data.into_iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    all.sort();
    all.dedup();
    Ok(all)
}

/// The bytes that are signed (RFC 4034 §3.1.8.1): the signature's own fields, then each record. `data` is that of
/// [`data`].
pub fn to_be_signed(signature: &SigInput, owner: &Name, data: &[Vec<u8>]) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::with_capacity(512);
    let kind = u16::from(signature.type_covered).to_be_bytes();
    let ttl = signature.original_ttl.to_be_bytes();
    bytes.extend(kind);
    bytes.extend([u8::from(signature.algorithm), signature.num_labels]);
    bytes.extend(ttl);
    bytes.extend(signature.sig_expiration.get().to_be_bytes());
    bytes.extend(signature.sig_inception.get().to_be_bytes());
    bytes.extend(signature.key_tag.to_be_bytes());
    bytes.extend(encoded(&signature.signer_name.to_lowercase())?);
    let owner = encoded(&owner.to_lowercase())?;
    for data in data {
        let length = u16::try_from(data.len()).map_err(|_| ProtoError::from("a record of more than 65535 bytes"))?;
        bytes.extend(&owner);
        bytes.extend(kind);
        bytes.extend(u16::from(DNSClass::IN).to_be_bytes());
        bytes.extend(ttl);
        bytes.extend(length.to_be_bytes());
        bytes.extend(data);
    }
    Ok(bytes)
}

fn encoded(what: &impl BinEncodable) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(u16::MAX);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    what.emit(&mut encoder)?;
    Ok(bytes)
}
