//! Work on many items by a few threads, each of which takes the next item when it is done with one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// What `act` makes of each item, in their order; so many are under way at once at most.
///
/// The caller's thread works too: where no other can be had, it only takes longer.
pub fn in_parallel<'i, T: Sync, R: Send>(items: &'i [T], at_most: usize, act: impl Fn(&'i T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (tell, told) = mpsc::channel();
    let work = |tell: mpsc::Sender<(usize, R)>| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            _ = tell.send((at, act(item)));
        }
    };
    thread::scope(|scope| {
        for _ in 1..at_most.min(items.len()) {
            let tell = tell.clone();
            if thread::Builder::new().spawn_scoped(scope, || work(tell)).is_err() {
                break;
            }
        }
        work(tell);
    });
    let mut results: Vec<_> = told.into_iter().collect();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    #[test]
    fn three_are_under_way_at_once() {
        let (arrived, all) = (Mutex::new(0), Condvar::new());
        let meet = |(): &()| {
            let mut arrived = arrived.lock().unwrap();
            *arrived += 1;
            all.notify_all();
            let (arrived, late) =
                all.wait_timeout_while(arrived, Duration::from_secs(20), |arrived| *arrived < 3).unwrap();
            drop(arrived);
            !late.timed_out()
        };
        assert_eq!(in_parallel(&[(), (), ()], 3, meet), [true; 3]);
    }

    #[test]
    fn all_come_back_in_their_order_from_no_more_threads_than_allowed() {
        let items: Vec<usize> = (0..1000).collect();
        let threads = Mutex::new(BTreeSet::new());
        let double = |item: &usize| {
            threads.lock().unwrap().insert(format!("{:?}", thread::current().id()));
            item * 2
        };
        assert_eq!(in_parallel(&items, 4, double), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!((1..=4).contains(&threads.lock().unwrap().len()));
        assert!(in_parallel(&[], 4, double).is_empty());
    }
}
