//! The blocks of saved files, taken apart and put together without the library.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of magic and version.
const START: usize = 12;
const BLOCK: usize = 1 << 16;

/// Returns the content of a file: what is in its blocks.
pub(crate) fn content_of(file: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut rest = &file[START..];
    while let Some((head, blocks)) = rest.split_at_checked(12) {
        let len = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        content.extend_from_slice(&blocks[..len]);
        rest = &blocks[len..];
    }
    content
}

/// Makes a file of a content: right in form, whatever the content. Ids with a sign are of version 2.
pub(crate) fn file_of(content: &[u8]) -> Vec<u8> {
    let version = 1 + u8::from(content.get(1) == Some(&3));
    let mut file = b"HCmember".to_vec();
    file.extend([version, 0, 0, 0]);
    for (number, block) in content.chunks(BLOCK).chain([&[][..]]).enumerate() {
        file.extend((block.len() as u32).to_le_bytes());
        file.extend(xxh3_64_with_seed(block, number as u64).to_le_bytes());
        file.extend_from_slice(block);
    }
    file
}
