//! The wish that tasks stand still, so that another program can go on with
//! what they do. Given to every task that has a descriptor to hand over.

use tokio::sync::watch;

/// Who asks.
pub(crate) struct Quiescer(watch::Sender<bool>);

/// Who is asked.
#[derive(Clone)]
pub(crate) struct Quiesce(watch::Receiver<bool>);

/// A pair of them.
pub(crate) fn pair() -> (Quiescer, Quiesce) {
    let (asks, asked) = watch::channel(false);
    (Quiescer(asks), Quiesce(asked))
}

impl Quiescer {
    /// Asks.
    pub(crate) fn ask(&self) {
        self.0.send_replace(true);
    }
}

impl Quiesce {
    /// Waits until it is asked for; for ever if nobody can ask any more.
    pub(crate) async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
