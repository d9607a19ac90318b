//! Somebody else who writes to the disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

static MEBIBYTE: [u8; 1 << 20] = [1; 1 << 20];

/// How much is written before each sync.
const MEBIBYTES: usize = 256;

/// Writes a large file again and again, and syncs it each time, so that the syncs of others take long. Ends when dropped.
pub struct BusyDisk {
    is_over: Arc<AtomicBool>,
    writing: Option<JoinHandle<()>>,
}

impl BusyDisk {
    /// Begins to write in `folder`.
    pub fn start(folder: &Path) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (path, until) = (folder.join("busy-disk"), Arc::clone(&is_over));
        BusyDisk { is_over, writing: Some(std::thread::spawn(move || write(&path, &until))) }
    }
}

impl Drop for BusyDisk {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The file goes with its folder.
        let _ = self.writing.take().map(JoinHandle::join);
    }
}

fn write(path: &Path, until: &AtomicBool) {
    while !until.load(Ordering::SeqCst) {
        let mut file = File::create(path).unwrap();
        for _ in 0..MEBIBYTES {
            file.write_all(&MEBIBYTE).unwrap();
        }
        file.sync_all().unwrap();
    }
}
