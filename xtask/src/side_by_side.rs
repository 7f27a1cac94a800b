//! Work on many things, a few of them at a time.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Does `work` with each of `items`, `workers` at a time, and gives what came of it, in the order in which it ended.
///
/// # Errors
/// The first error of `work`: what has begun by then is finished, and nothing more is begun. Also if `work` panics.
pub(crate) fn each<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let waiting = Mutex::new(items.iter());
    let ended = Mutex::new(Ok(Vec::with_capacity(items.len())));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        while let Some(item) = next() {
            let result = work(item);
            let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *ended, result) {
                (Ok(all), Ok(result)) => all.push(result),
                (Ok(_), Err(error)) => *ended = Err(error),
                (Err(_), _) => {}
            }
            if ended.is_err() {
                break;
            }
        }
    };
    let joined: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    if joined.iter().any(Result::is_err) {
        bail!("a worker panicked");
    }
    ended.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once() {
        let items: Vec<u32> = (0..100).collect();
        let mut doubled = each(&items, 4, |item| Ok(item * 2)).unwrap();
        doubled.sort_unstable();
        assert_eq!(doubled, (0..100).map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_it() {
        let begun = Mutex::new(0);
        let fails = |item: &u32| {
            *begun.lock().unwrap() += 1;
            if *item == 3 { bail!("three") } else { Ok(()) }
        };
        assert_eq!(each(&[1, 2, 3, 4, 5, 6], 1, fails).unwrap_err().to_string(), "three");
        assert_eq!(*begun.lock().unwrap(), 3);
    }
}
