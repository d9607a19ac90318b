//! What each model's builder and runner say, in files of bounded size.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::ModelId;
use futures::Stream;
use serde::Deserialize;

use crate::submission_id::file_name;

/// A log that would grow beyond this many bytes begins anew; the one before it is kept beside it, and no older ones.
pub const MAX_LOG_BYTES: u64 = 1024 * 1024;
/// Who does not ask for a log from its start gets about this much of its end.
const TAIL_BYTES: usize = 16 * 1024;
/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A followed log goes out in pieces of at most so many bytes.
const PIECE_BYTES: u64 = 64 * 1024;

/// Which of a model's two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// From its start until it can be called: above all, the packages that are installed.
    Builder,
    /// From then on.
    Runner,
}

impl LogKind {
    /// As it stands in addresses and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            LogKind::Builder => "builder",
            LogKind::Runner => "runner",
        }
    }
}

/// The folder of all logs.
#[derive(Debug, Clone)]
pub struct ModelLogs {
    folder: PathBuf,
    max_bytes: u64,
    /// One writer at a time: while a model is replaced, two deployments write into its log.
    writing: Arc<Mutex<()>>,
}

impl ModelLogs {
    /// Logs in `folder`, which is made if needed and then only its owner can read.
    pub fn in_folder(folder: PathBuf) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(ModelLogs { folder, max_bytes: MAX_LOG_BYTES, writing: Arc::default() })
    }

    /// With another bound for each file, in bytes.
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The file that is written at present.
    pub fn path(&self, kind: LogKind, model_id: &ModelId) -> PathBuf {
        self.folder.join(format!("{}.{}.log", file_name(model_id.as_str()), kind.as_str()))
    }

    /// Appends to a log.
    pub(crate) fn append(&self, kind: LogKind, model_id: &ModelId, text: &[u8]) -> io::Result<()> {
        let path = self.path(kind, model_id);
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || File::options().create(true).append(true).mode(0o600).open(&path);
        let mut file = open()?;
        if file.metadata()?.len() + text.len() as u64 > self.max_bytes {
            std::fs::rename(&path, older(&path))?;
            file = open()?;
        }
        file.write_all(text)
    }

    /// The end of a log, or all that is kept of it.
    pub(crate) fn read(&self, kind: LogKind, model_id: &ModelId, from_start: bool) -> io::Result<Vec<u8>> {
        Ok(Reader::open(self.path(kind, model_id), from_start)?.1)
    }

    /// The same, and then whatever is added to it, without end.
    pub(crate) fn follow(
        &self,
        kind: LogKind,
        model_id: &ModelId,
        from_start: bool,
    ) -> impl Stream<Item = io::Result<Vec<u8>>> + use<> {
        let path = self.path(kind, model_id);
        futures::stream::try_unfold(None, move |reader: Option<Reader>| {
            let path = path.clone();
            async move {
                let (reader, text) = match reader {
                    None => Reader::open(path, from_start)?,
                    Some(mut reader) => {
                        let text = reader.wait_for_more().await?;
                        (reader, text)
                    }
                };
                Ok(Some((text, Some(reader))))
            }
        })
    }
}

fn older(path: &Path) -> PathBuf {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    older.into()
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a log across its rotations.
struct Reader {
    path: PathBuf,
    /// `None` until something was written.
    file: Option<File>,
}

impl Reader {
    /// A reader at the end of the log, and what comes before.
    fn open(path: PathBuf, from_start: bool) -> io::Result<(Self, Vec<u8>)> {
        let file = open_if_there(&path)?;
        let mut text = Vec::new();
        if let Some(mut before) = open_if_there(&older(&path))?
            && !is_same(&file, &before)?
        {
            before.read_to_end(&mut text)?;
        }
        if let Some(mut file) = file.as_ref() {
            file.read_to_end(&mut text)?;
        }
        if !from_start {
            cut_to_tail(&mut text);
        }
        Ok((Reader { path, file }, text))
    }

    async fn wait_for_more(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let text = self.more()?;
            if !text.is_empty() {
                return Ok(text);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn more(&mut self) -> io::Result<Vec<u8>> {
        let newest = open_if_there(&self.path)?;
        // first the rest of the file that is open: it may have been rotated away in the meantime
        let text = piece(&self.file)?;
        if !text.is_empty() {
            return Ok(text);
        }
        if let Some(newest) = newest
            && !is_same(&self.file, &newest)?
        {
            self.file = Some(newest);
        }
        piece(&self.file)
    }
}

fn piece(file: &Option<File>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(file) = file {
        file.take(PIECE_BYTES).read_to_end(&mut text)?;
    }
    Ok(text)
}

fn is_same(file: &Option<File>, other: &File) -> io::Result<bool> {
    let Some(file) = file else { return Ok(false) };
    let (one, other) = (file.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Keeps the end, from the beginning of a line.
fn cut_to_tail(text: &mut Vec<u8>) {
    let surplus = text.len().saturating_sub(TAIL_BYTES);
    if surplus > 0 {
        let line =
            text[surplus..].iter().position(|byte| *byte == b'\n').map_or(surplus, |at| surplus + at + 1);
        text.drain(..line);
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn logs(max_bytes: u64) -> (tempfile::TempDir, ModelLogs, ModelId) {
        let folder = tempfile::tempdir().unwrap();
        let logs = ModelLogs::in_folder(folder.path().join("logs")).unwrap().with_max_bytes(max_bytes);
        (folder, logs, ModelId::new("../a model").unwrap())
    }

    #[test]
    fn a_log_never_takes_more_than_twice_its_bound_and_keeps_the_newest() {
        let (_folder, logs, model) = logs(1000);
        for line in 0..1000 {
            logs.append(LogKind::Runner, &model, format!("line {line}\n").as_bytes()).unwrap();
        }
        let files = std::fs::read_dir(&logs.folder).unwrap();
        let sizes: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
        let text = String::from_utf8(logs.read(LogKind::Runner, &model, true).unwrap()).unwrap();
        assert!(text.ends_with("line 998\nline 999\n") && text.len() > 1000, "{text}");
        assert!(logs.read(LogKind::Builder, &model, true).unwrap().is_empty());
    }

    #[test]
    fn the_end_of_a_long_log_begins_with_a_whole_line() {
        let (_folder, logs, model) = logs(MAX_LOG_BYTES);
        logs.append(LogKind::Builder, &model, "0123456789\n".repeat(10_000).as_bytes()).unwrap();
        let text = logs.read(LogKind::Builder, &model, false).unwrap();
        assert!(text.starts_with(b"0123456789\n") && text.len() <= TAIL_BYTES, "{}", text.len());
    }

    #[tokio::test]
    async fn a_follower_misses_nothing_across_rotations() {
        let (_folder, logs, model) = logs(100);
        let mut followed = Box::pin(logs.follow(LogKind::Runner, &model, true));
        assert!(followed.next().await.unwrap().unwrap().is_empty(), "there is no file yet");
        let mut heard = Vec::new();
        for line in 0..50 {
            let text = format!("line {line}\n");
            logs.append(LogKind::Runner, &model, text.as_bytes()).unwrap();
            heard.extend(followed.next().await.unwrap().unwrap());
        }
        let all: String = (0..50).map(|line| format!("line {line}\n")).collect();
        assert_eq!(String::from_utf8(heard).unwrap(), all);
    }
}
