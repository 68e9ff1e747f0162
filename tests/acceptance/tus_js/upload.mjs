// Uploads one file with tus-js-client as its argument (JSON) says, and prints what happens as lines of JSON.
import fs from 'node:fs'
import * as tus from 'tus-js-client'

const wish = JSON.parse(process.argv[2])
const say = (what) => console.log(JSON.stringify(what))
const upload = new tus.Upload(fs.createReadStream(wish.file), {
  endpoint: wish.endpoint,
  metadata: wish.metadata,
  metadataForPartialUploads: { bucket: wish.metadata.bucket },
  headers: wish.headers ?? {},
  parallelUploads: wish.parallel ?? 1,
  chunkSize: wish.chunkSize ?? Infinity,
  retryDelays: wish.retry ?? [],
  uploadDataDuringCreation: wish.early ?? false,
  uploadLengthDeferred: wish.deferred ?? false,
  overridePatchMethod: wish.override ?? false,
  urlStorage: wish.storage ? new tus.FileUrlStorage(wish.storage) : undefined,
  storeFingerprintForResuming: Boolean(wish.storage),
  removeFingerprintOnSuccess: true,
  onUploadUrlAvailable: () => say({ url: upload.url }),
  onError: (error) => {
    say({ error: String(error) })
    process.exit(1)
  },
  onSuccess: () => say({ done: upload.url }),
})
const before = wish.storage ? await upload.findPreviousUploads() : []
say({ found: before.length })
if (before.length) upload.resumeFromPreviousUpload(before[0])
upload.start()
