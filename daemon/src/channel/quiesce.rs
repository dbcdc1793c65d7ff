//! The wish that tasks stand still, so that another program can go on with
//! what they do. Given to every task that has a descriptor to hand over.

use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct Quiescer(watch::Sender<bool>);

#[derive(Clone)]
pub(crate) struct Quiesce(watch::Receiver<bool>);

impl Quiescer {
    pub(crate) fn ask(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn quiesce(&self) -> Quiesce {
        Quiesce(self.0.subscribe())
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
