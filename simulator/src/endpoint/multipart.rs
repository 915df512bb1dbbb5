//! Multipart uploads, read through in constant memory: the first file's name, type and size are kept.

use ring::digest;

use crate::fault::Fault;

/// Largest head of one part.
const MAX_PART_HEAD_BYTES: usize = 16 << 10;
/// Files up to this size are kept, so that a download returns what was uploaded.
const MAX_KEPT_BYTES: usize = 256 << 10;
/// Longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// What was found in an upload.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// SHA-256 of the whole request body.
    pub(crate) digest: [u8; 32],
    pub(crate) file: UploadedFile,
    /// The field `display_name`, if there was one.
    pub(crate) display_name: Option<String>,
}

/// The first file of an upload.
#[derive(Clone, Debug)]
pub(crate) struct UploadedFile {
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) bytes: u64,
    /// SHA-256 of the file's own bytes.
    pub(crate) digest: [u8; 32],
    /// The bytes, unless there are too many.
    pub(crate) kept: Option<Vec<u8>>,
}

enum Place {
    /// Before the first boundary.
    Preamble,
    /// In the head of a part.
    Head,
    /// In the bytes of a part.
    Data,
    /// After the closing boundary.
    Epilogue,
}

struct Part {
    field: String,
    file_name: Option<String>,
    media_type: String,
    /// Bytes of the empty line after the head that have not passed yet.
    line_end_left: usize,
    bytes: u64,
    digest: digest::Context,
    kept: Option<Vec<u8>>,
}

/// Reads an upload as it arrives.
pub(crate) struct UploadReader {
    /// CRLF, two dashes and the boundary: what ends a part.
    delimiter: Vec<u8>,
    place: Place,
    /// Bytes that may be the start of something: a boundary or the end of a head.
    held: Vec<u8>,
    part: Option<Part>,
    first_file: Option<UploadedFile>,
    display_name: Option<String>,
    broken: bool,
}

impl UploadReader {
    /// `content_type` is the request's header value.
    pub(crate) fn new(content_type: &str) -> Result<Self, Fault> {
        let is_multipart = content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data");
        let boundary = content_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
        let boundary =
            boundary.map(|text| text.trim_matches('"')).filter(|_| is_multipart).unwrap_or_default();
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY_BYTES {
            return Err(Fault::invalid("Content-Type: multipart/form-data with a boundary is required"));
        }
        Ok(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            place: Place::Preamble,
            // A line end before the first boundary makes it look like all others.
            held: b"\r\n".to_vec(),
            part: None,
            first_file: None,
            display_name: None,
            broken: false,
        })
    }

    /// Takes the next bytes of the body, cut anywhere.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        while !self.broken && self.step() {}
    }

    /// Consumes one thing from what is held; `false` when more bytes are needed.
    fn step(&mut self) -> bool {
        match self.place {
            Place::Preamble | Place::Data => self.pass_boundary(),
            Place::Head => self.head(),
            Place::Epilogue => {
                self.held.clear();
                false
            }
        }
    }

    /// Passes everything before the next boundary on; keeps back what may be the start of one.
    fn pass_boundary(&mut self) -> bool {
        let found = memchr::memmem::find(&self.held, &self.delimiter);
        let Some(at) = found else {
            let safe = self.held.len().saturating_sub(self.delimiter.len());
            let data: Vec<u8> = self.held.drain(..safe).collect();
            self.data(&data);
            return false;
        };
        let after = at.saturating_add(self.delimiter.len());
        // Two more bytes tell whether this is the last boundary.
        let Some(tail) = self.held.get(after..after.saturating_add(2)) else { return false };
        self.place = if tail == b"--" { Place::Epilogue } else { Place::Head };
        let data: Vec<u8> = self.held.drain(..at).collect();
        self.data(&data);
        self.end_part();
        self.held.drain(..self.delimiter.len().saturating_add(2));
        true
    }

    fn head(&mut self) -> bool {
        let Some(end) = memchr::memmem::find(&self.held, b"\r\n\r\n") else {
            self.broken = self.held.len() > MAX_PART_HEAD_BYTES;
            return false;
        };
        // The empty line stays: an empty part's boundary begins with it. Its two bytes are not data.
        let head: Vec<u8> = self.held.drain(..end.saturating_add(2)).collect();
        self.part = Some(Part::with_head(&String::from_utf8_lossy(&head)));
        self.place = Place::Data;
        true
    }

    fn data(&mut self, bytes: &[u8]) {
        if let Some(part) = &mut self.part {
            part.take(bytes);
        }
    }

    fn end_part(&mut self) {
        let Some(part) = self.part.take() else { return };
        if part.field == "display_name" {
            self.display_name = part.kept.as_deref().map(|text| String::from_utf8_lossy(text).into_owned());
        }
        let Some(name) = part.file_name else { return };
        self.first_file.get_or_insert_with(|| UploadedFile {
            name,
            media_type: part.media_type,
            bytes: part.bytes,
            digest: part.digest.finish().as_ref().try_into().unwrap_or([0; 32]),
            kept: part.kept,
        });
    }

    /// What was in the upload; `digest` is that of the whole body.
    pub(crate) fn finish(self, digest: [u8; 32]) -> Result<Upload, Fault> {
        if self.broken || !matches!(self.place, Place::Epilogue) {
            return Err(Fault::invalid("The multipart body is incomplete"));
        }
        let file = self.first_file.ok_or_else(|| Fault::missing("file"))?;
        Ok(Upload { digest, file, display_name: self.display_name })
    }
}

impl Part {
    fn with_head(head: &str) -> Self {
        let mut part = Self {
            field: String::new(),
            file_name: None,
            media_type: "application/octet-stream".to_owned(),
            line_end_left: 2,
            bytes: 0,
            digest: digest::Context::new(&digest::SHA256),
            kept: Some(Vec::new()),
        };
        for line in head.split("\r\n") {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-disposition" => {
                    part.field = parameter(value, "name").unwrap_or_default();
                    part.file_name = parameter(value, "filename");
                }
                "content-type" => part.media_type = value.trim().to_owned(),
                _ => {}
            }
        }
        part
    }

    fn take(&mut self, bytes: &[u8]) {
        let skipped = self.line_end_left.min(bytes.len());
        self.line_end_left = self.line_end_left.saturating_sub(skipped);
        let (_, bytes) = bytes.split_at(skipped);
        self.digest.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
        self.kept = self.kept.take().filter(|kept| kept.len() <= MAX_KEPT_BYTES);
    }
}

/// A quoted parameter of a header value.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    value.split(';').find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        (name == wanted).then(|| value.trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(content: &[u8]) -> Vec<u8> {
        let mut body = b"--xyz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n\r\n--xyz\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"data.csv\"\r\nContent-Type: text/csv\r\n\r\n"
            .to_vec();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--xyz--\r\n");
        body
    }

    proptest! {
        #[test]
        fn a_file_is_found_however_the_body_is_cut(
            content in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), any::<u8>()], 0..200),
            cut in 1_usize..50,
        ) {
            prop_assume!(memchr::memmem::find(&content, b"\r\n--xyz").is_none());
            let mut reader = UploadReader::new("multipart/form-data; boundary=xyz").unwrap();
            body(&content).chunks(cut).for_each(|bytes| reader.feed(bytes));
            let upload = reader.finish([0; 32]).unwrap();
            prop_assert_eq!(upload.file.kept.as_deref(), Some(content.as_slice()));
            prop_assert_eq!(upload.file.bytes, u64::try_from(content.len()).unwrap());
            prop_assert_eq!(&upload.file.name, "data.csv");
            prop_assert_eq!(&upload.file.media_type, "text/csv");
        }
    }

    #[test]
    fn a_body_without_its_closing_boundary_is_refused() {
        let mut reader = UploadReader::new("multipart/form-data; boundary=\"xyz\"").unwrap();
        let whole = body(b"a,b");
        reader.feed(whole.get(..whole.len() - 6).unwrap());
        assert!(reader.finish([0; 32]).is_err());
        assert!(UploadReader::new("application/json").is_err());
    }
}
