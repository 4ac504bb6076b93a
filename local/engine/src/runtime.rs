//! The one thread on which all engines of this process live.
//!
//! The kernel's "kill me when my parent dies" means the parent *thread*, so containers are started
//! by a thread that lives as long as the process.

use std::io;
use std::sync::{Mutex, PoisonError, mpsc};

use tokio::runtime::{Builder, Handle};

/// The thread's runtime, started by the first call.
pub(crate) fn handle() -> io::Result<Handle> {
    static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);
    let mut slot = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*slot {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("process-engine".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(slot.insert(handle).clone())
}

/// Runs `work` on that thread and waits for it; `None` when it panicked.
pub(crate) fn run<T: Send + 'static>(
    handle: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (send, result) = mpsc::channel();
    handle.spawn(async move { send.send(work.await) });
    result.recv().ok()
}
