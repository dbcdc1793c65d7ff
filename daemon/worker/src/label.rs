//! What a request is called: its method and path, and httpd's id. Kept as it came,
//! cut; made readable only for who asks: the log, `Query`, events.

/// Longest part of a request's path that is shown.
const PART_MAX: usize = 200;

pub(crate) struct Label {
    bytes: Vec<u8>,
    /// Where the id begins.
    id: usize,
}

impl Label {
    pub(crate) fn new(method: &[u8], path: &[&[u8]], id: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        put(&mut bytes, method);
        bytes.push(b' ');
        for part in path {
            put(&mut bytes, part);
        }
        let end = bytes.len();
        put(&mut bytes, id);
        Self { bytes, id: end }
    }

    /// Method and path, for people.
    pub(crate) fn what(&self) -> String {
        readable(self.bytes.get(..self.id).unwrap_or_default())
    }

    /// The two of them.
    pub(crate) fn method_and_path(&self) -> (String, String) {
        let mut what = self.what();
        // A method has no blank.
        let path = what.split_off(what.find(' ').unwrap_or(what.len()));
        (what, path.trim_start().to_owned())
    }

    /// httpd's id of the request.
    pub(crate) fn request_id(&self) -> String {
        readable(self.bytes.get(self.id..).unwrap_or_default())
    }
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(part.get(..PART_MAX).unwrap_or(part));
}

fn readable(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| shown(*byte)).collect()
}

const fn shown(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' {
        byte as char
    } else {
        '?'
    }
}
