//! What `COPY .. (FORMAT binary)` reads.
//!
//! The form is described in PostgreSQL's manual, under COPY, "Binary Format": a head, per row the number of its columns and
//! each as its length and its bytes, most significant first, and an end.

/// Signature, flags, and the length of an extension of the head.
pub(crate) const COPY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A number of columns that no row has.
pub(crate) const COPY_END: [u8; 2] = (-1_i16).to_be_bytes();
/// What is handed to the connection at a time, which copies it.
pub(crate) const COPY_PIECE_BYTES: usize = 256 * 1024;
/// The length that stands for NULL.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Adds a column of a row.
pub(crate) fn copy_field(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(bytes) => {
            // A longer one than that, a gigabyte and more, is nothing that the server takes; it says so.
            out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        None => out.extend_from_slice(&NULL),
    }
}
