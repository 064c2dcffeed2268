//! The real file of the configuration, read and written off the services' thread.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gatepost_services::service::LocalFuture;
use gatepost_services::store::{StagedFile, open_regular};
use gatepost_services::work::{self, Work};

use crate::transaction::{ConfigFile, PutError};

/// The file at a path. It may be missing if nobody named it.
pub struct RealFile {
    path: PathBuf,
    may_be_missing: bool,
    work: Rc<dyn Work>,
    staged: RefCell<Option<StagedFile>>,
}

impl RealFile {
    /// The file at `path`.
    pub fn new(path: &Path, may_be_missing: bool, work: Rc<dyn Work>) -> Self {
        Self { path: path.to_owned(), may_be_missing, work, staged: RefCell::default() }
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        Ok(work::run(&*self.work, job).await?)
    }
}

impl ConfigFile for RealFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> LocalFuture<'_, io::Result<Option<String>>> {
        let path = self.path.clone();
        Box::pin(async move {
            match self.run(move || read(&path)).await? {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.may_be_missing => Ok(None),
                read => read.map(Some),
            }
        })
    }

    fn stage(&self, text: String) -> LocalFuture<'_, io::Result<()>> {
        let path = self.path.clone();
        let former = self.staged.take();
        Box::pin(async move {
            let write = move || {
                drop(former);
                StagedFile::write(&path, text.as_bytes())
            };
            let staged = self.run(write).await??;
            *self.staged.borrow_mut() = Some(staged);
            Ok(())
        })
    }

    fn put(&self, former: Option<String>) -> LocalFuture<'_, Result<(), PutError>> {
        let path = self.path.clone();
        let staged = self.staged.take();
        Box::pin(async move {
            let put = move || {
                let staged = staged.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let is_former = match (read(&path), former) {
                    (Ok(text), Some(former)) => text == former,
                    (Err(error), None) => error.kind() == io::ErrorKind::NotFound,
                    _ => false,
                };
                if !is_former {
                    return Err(PutError::Edited);
                }
                Ok(staged.put()?)
            };
            self.run(put).await?
        })
    }

    fn forget(&self) -> LocalFuture<'_, ()> {
        let staged = self.staged.take();
        Box::pin(async move {
            // What cannot be removed is replaced the next time.
            _ = self.run(move || drop(staged)).await;
        })
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gatepost_services::work::AtOnce;

    use super::*;

    #[tokio::test]
    async fn a_file_that_was_edited_meanwhile_is_not_replaced() {
        let folder = std::env::temp_dir().join(format!("gatepost-config-file-{}", std::process::id()));
        let path = folder.join("gatepost.toml");
        let file = RealFile::new(&path, true, Rc::new(AtOnce));
        assert_eq!(file.read().await.unwrap(), None);
        file.stage("one\n".to_owned()).await.unwrap();
        file.put(None).await.unwrap();
        assert_eq!(file.read().await.unwrap().as_deref(), Some("one\n"));
        for former in [None, Some("other\n".to_owned())] {
            file.stage("two\n".to_owned()).await.unwrap();
            assert!(matches!(file.put(former).await, Err(PutError::Edited)));
        }
        assert!(
            matches!(file.put(Some("one\n".to_owned())).await, Err(PutError::Io(_))),
            "nothing is staged"
        );
        file.stage("two\n".to_owned()).await.unwrap();
        file.forget().await;
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        let named = RealFile::new(&folder.join("missing.toml"), false, Rc::new(AtOnce));
        assert_eq!(named.read().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(&folder).unwrap();
    }
}
