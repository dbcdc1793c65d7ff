//! `reload-surge`: a generation takes over when so many of its workers are ready; those of the
//! one before serve on, and each drains when a new one has come for it. So there are never
//! more than so many workers beyond the wanted number. Called by `filling` after every event.

use super::{PoolGeneration, PoolStep, WorkerPool};
use crate::ids::WorkerId;

impl PoolGeneration {
    /// How many workers more than wanted there may be while it takes over; `None` is no
    /// limit. With `reload-wait` requests want new code alone.
    pub(super) fn surge(&self) -> Option<u32> {
        let config = &self.definition.config;
        let is_bounded =
            config.reload_surge > 0 && config.reload_wait.is_zero() && !self.is_service();
        is_bounded.then_some(config.reload_surge)
    }
}

impl WorkerPool {
    /// Whether workers of the generation before serve on.
    pub(super) fn is_rolling(&self) -> bool {
        self.members
            .values()
            .any(|member| member.outgoing && member.is_ready())
    }

    /// How many more workers of the next generation may be started, which wants so many.
    pub(super) fn room_of_next(&self, next: &PoolGeneration, wanted: u32) -> usize {
        let Some(surge) = self.surge_of(next, wanted) else {
            return usize::MAX;
        };
        let others = self.count(|member| member.is_live() && member.generation != next.number);
        let own = self.live_of(next.number);
        // Who gives way only when this one serves takes no room from the first of them.
        let all = (wanted.saturating_add(surge) as usize).saturating_sub(others);
        all.max(1).min(surge as usize).saturating_sub(own)
    }

    /// The same of the generation that serves, while those of the one before do.
    pub(super) fn room_while_rolling(&self, wanted: u32) -> usize {
        let surge = self.surge_of(&self.current, wanted);
        match surge.filter(|_| self.is_rolling()) {
            // What comes next is newer than those that would be started.
            Some(_) if self.next.is_some() => 0,
            Some(surge) => {
                let live = self.count(|member| member.is_live());
                (wanted.saturating_add(surge) as usize).saturating_sub(live)
            }
            None => usize::MAX,
        }
    }

    /// Another generation serves from now on: so many of those before serve on, the newest.
    pub(super) fn keep_outgoing(&mut self, count: usize) {
        let current = self.current.number;
        let ready = self.members.values_mut().rev();
        let ready = ready.filter(|member| member.generation != current && member.is_ready());
        for (place, member) in ready.enumerate() {
            member.outgoing = place < count;
        }
    }

    /// Lets as many of those before go as there are workers too many; first those that want
    /// to be replaced anyway.
    pub(super) fn drain_outgoing(&mut self, step: &mut PoolStep) {
        if !self.is_rolling() {
            return;
        }
        if self.next.is_some() {
            // They would be of a generation of before as soon as they are ready.
            for id in self.ids_where(|member| {
                self.is_current(member) && member.is_live() && !member.is_ready()
            }) {
                if let Some(member) = self.members.get(&id).cloned() {
                    self.put_off_replacement(&member, step.now);
                }
                self.bring_down(id, step);
            }
        }
        let serving = self.count(|member| self.serves(member));
        let wanted = self.wanted(&self.current) as usize;
        let mut outgoing: Vec<(bool, WorkerId)> = self
            .members()
            .filter(|(_, member)| member.outgoing && member.is_ready())
            .map(|(id, member)| (member.recycling().is_none(), id))
            .collect();
        outgoing.sort_unstable();
        for (_, id) in outgoing.into_iter().take(serving.saturating_sub(wanted)) {
            self.drain(id, step);
        }
    }
}
