//! What is needed of a request head once its environ is built and the frame is gone. Made
//! by `serve`; read by `exchange`, `scripts`, `script` and `application`.

use wsgid_protocol::request::{Call, RequestHead, RequestOptions};

use crate::label::Label;
use crate::script_call::ScriptFunction;

/// What is needed of a request head once its environ is built.
pub(crate) struct CallFacts {
    pub(crate) script: Vec<u8>,
    pub(crate) callable: Vec<u8>,
    pub(crate) options: RequestOptions,
    pub(crate) head_only: bool,
    /// Whether the call is about the client, so that mod_ssl may be asked.
    pub(crate) is_about_access: bool,
    /// Microseconds from the module's sending it until a thread took it.
    pub(crate) queue_us: u64,
    /// The function that is called in the place of an application.
    pub(crate) function: Option<ScriptFunction>,
}

impl CallFacts {
    /// The facts, and what the request is called.
    pub(crate) fn new(head: &RequestHead<'_>, taken_us: u64) -> (Self, Label) {
        let mut method: &[u8] = b"";
        let mut name: &[u8] = b"";
        let mut path: &[u8] = b"";
        let mut id: &[u8] = b"";
        for (key, value) in &head.environ {
            match key.as_ref() {
                b"REQUEST_METHOD" => method = value,
                b"SCRIPT_NAME" => name = value,
                b"PATH_INFO" => path = value,
                b"mod_wsgi.request_id" => id = value,
                _ => {}
            }
        }
        let function = ScriptFunction::new(&head.call);
        let callable: &[u8] = match &function {
            Some(function) => function.name.as_bytes(),
            None if head.call == Call::Handler => b"handle_request",
            None => head.callable,
        };
        let facts = Self {
            script: head.script.to_vec(),
            callable: callable.to_vec(),
            options: head.options,
            head_only: method == b"HEAD",
            is_about_access: head.call.is_about_access(),
            queue_us: taken_us.saturating_sub(head.queue_start_us),
            function,
        };
        (facts, Label::new(method, &[name, path], id))
    }
}
