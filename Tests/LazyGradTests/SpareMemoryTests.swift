// What the tapes of many threads keep for their next results, together.

import Foundation
import LazyGrad
import LazyGradJIT
import Testing

@Suite struct SpareMemoryTests {
  /// Every thread drops megabytes of small blocks; a tape used to keep as much as it could alone.
  @Test func allTapesTogetherKeepABoundedNumberOfBytes() {
    let (done, leave) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    for _ in 0..<64 {
      let thread = Thread {
        for count in [64, 256, 1024, 2048, 4096, 8192] {
          let x = Tensor.ones([count], dtype: .float64, constant: true)
          eval((0..<64).map { _ in x + 1.0 })
        }
        done.signal()
        leave.wait()
      }
      thread.start()
    }
    for _ in 0..<64 { done.wait() }
    #expect(StoragePool.shared.spareBytes <= StoragePool.spareLimit)
    for _ in 0..<64 { leave.signal() }
  }
}
