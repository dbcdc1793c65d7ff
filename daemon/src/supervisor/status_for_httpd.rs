//! The status for httpd's own page: a HELLO that names the reserved group
//! `wsgid:status` gets all of it as JSON. Who may read the page is decided by
//! httpd; here only httpd itself is let in, which knows the secret: its user
//! alone is not enough, for other programs run as that user too.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use wsgid_protocol::answers::{CommandResult, to_json};
use wsgid_protocol::{
    Failure, Kind, control::Command, head::FLAG_CLOSE, limits::MAX_BODY_LEN, payload,
    response::EndReport,
};

use super::Supervisor;
use crate::channel::{closing::Guarded, operator::OperatorCommand, write_frame};
use crate::connection::connections::send_fail;

/// Time a module has to take the answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Answers, if the secret is that of an httpd.
    pub(super) fn show_status(&mut self, fd: Guarded, peer: Option<u32>, secret: &[u8; 32]) {
        let is_httpd = peer.is_some_and(|peer| self.access.allowed.is_httpd(peer));
        let mut generations = self.access.generations.values();
        let is_by_httpd = generations.any(|known| known.secret.is_some());
        if !(is_httpd && is_by_httpd && self.access.secret_is_right(secret)) {
            let text =
                "the status page is for the httpd that started this supervisor; say wsgid status";
            return send_fail(&fd, Failure::NotAllowed, text);
        }
        let (answer, wait) = oneshot::channel();
        self.asked(OperatorCommand {
            command: Command::Status,
            uid: 0,
            answer,
        });
        tokio::spawn(async move {
            let Ok(status) = wait.await else { return };
            match tokio::time::timeout(SEND_TIMEOUT, send(fd, &status)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::trace!("status page: {error}"),
                Err(_) => tracing::trace!("status page: httpd did not take it"),
            }
        });
    }
}

/// The JSON as DATA frames, and END.
async fn send(fd: Guarded, status: &CommandResult) -> io::Result<()> {
    let mut stream = fd.stream()?;
    for part in to_json(status)?.chunks(MAX_BODY_LEN as usize) {
        write_frame(&mut stream, Kind::Data, 0, part).await?;
    }
    let end = payload::encode(&EndReport::default()).map_err(io::Error::other)?;
    write_frame(&mut stream, Kind::End, FLAG_CLOSE, &end).await?;
    stream.shutdown().await
}
