//! Ending with the process that started us.

use std::io::Read;

use tokio::sync::oneshot;

/// Waits until standard input ends. A host that was started with `--exit-with-parent` has a pipe there whose other end
/// its parent holds: it closes when the parent wants the host to stop, and also when the parent dies, however it dies.
pub async fn wait_for_parent_exit() {
    let (gone, parent) = oneshot::channel();
    // a plain thread: a pending read on the runtime's blocking pool would hold up the runtime's end
    std::thread::spawn(move || {
        drain(std::io::stdin().lock());
        let _ = gone.send(());
    });
    let _ = parent.await;
}

fn drain(mut input: impl Read) {
    let mut buffer = [0; 256];
    while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
}
