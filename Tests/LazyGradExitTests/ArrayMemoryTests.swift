// Lack of memory for host arrays, in processes of their own, because the limit is the process's.

import Foundation
import LazyGrad
import Testing

#if os(Linux) || os(macOS)
  @Suite("Lack of memory for arrays")
  struct ArrayMemoryTests {
    @Test("Outside of a scope it ends the program")
    func stops() async {
      let result = await #expect(
        processExitsWith: .failure, observing: [\.standardErrorContent]
      ) {
        LazyGradEngine.setMemoryLimit(1 << 20)
        _ = NDArray.zeros([1 << 20])
      }
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(text.contains("LazyGrad: zeros: no memory for 8388608 bytes (limit 1048576)"))
    }

    @Test("Inside it is thrown, changes nothing, and ends with more memory")
    func isThrown() async {
      await #expect(processExitsWith: .success) {
        func lacks(_ name: String, _ body: () throws -> Void) {
          do {
            try catchingTensorErrors(body)
            preconditionFailure("\(name): no error")
          } catch {
            let cause = (error as? TensorError)?.cause
            precondition(cause == .outOfMemory, "\(name): \(error)")
          }
        }
        let n = 1 << 20
        let floats = [Double](repeating: 1.5, count: n)
        let source = NDArray(floats)
        let square = source.reshaped([1024, 1024])
        let target = NDArray.zeros([1024, 1024], dtype: .float32)
        let tensor = Tensor([1.0, 2, 3])
        let rows = Tensor.ones([4, n / 4])
        rows.eval()
        LazyGradEngine.trimMemory()
        LazyGradEngine.setMemoryLimit(LazyGradEngine.bytesInUse + 1 << 16)
        let makers: [(String, () -> NDArray)] = [
          ("zeros", { .zeros([n]) }), ("ones", { .ones([n], dtype: .float32) }),
          ("full", { .full([n], 7) }), ("nested", { NDArray([floats, floats]) }),
          ("elements", { NDArray(floats, shape: [2, n / 2], dtype: .float32) }),
          ("arange", { .arange(Double(n)) }), ("integer arange", { .arange(0, n, 1) }),
          ("linspace", { .linspace(0, 1, count: n) }), ("eye", { .eye(1024) }),
          ("copy", { source.copy() }), ("astype", { source.astype(.int32) }),
          ("reshaped", { square.transposed().reshaped([n]) }),
          ("gather", { source[Array(0..<(n / 2))] }), ("mask", { source[source.copy()] }),
          ("tensor", { (rows + 1).array }),
        ]
        for (name, make) in makers {
          lacks(name) {
            let array = make()
            precondition(array.shape == [] && array.count == 1, name)
            precondition(array.dtype.isFloating ? array.item().isNaN : array.item() == 0, name)
            _ = "\(array) \(array.copy()) \(array.transposed()[.ellipsis])"
            // Nothing that is made of it gets anywhere.
            let made = Tensor(array, constant: true) + tensor
            precondition(made.debugDescription.contains("poisoned"), name)
            target[3, 4] = array
            tensor[0] = made
            tensor[[0]] = Tensor(array, dtype: .float64, constant: true)
            _ = rows.takeRows(array)
            _ = tensor[array]
            do {
              try target.assign(array)
              preconditionFailure("\(name): assigned")
            } catch { precondition(error is TensorError) }
          }
        }
        precondition(target[3, 4].item() == 0 && tensor.elements(as: Double.self) == [1, 2, 3])
        // Tensors of values, and writes that have to convert or copy first.
        lacks("Tensor") { _ = Tensor(floats) }
        lacks("Tensor of a turned array") { _ = Tensor(square.transposed()) }
        lacks("assign") { try target.assign(square.transposed()) }
        lacks("subscript") { target[.all] = square }
        lacks("index arrays") { target[Array(0..<1024)] = square }
        lacks("mutable elements") {
          try square.transposed().withMutableElements(as: Double.self) { $0[1] = 0 }
        }
        // What needs no memory works.
        let turned = square.transposed()
        precondition(target[0, 0].item() == 0 && turned[5, 7].item() == 1.5)
        precondition(turned.elements(as: Float.self)[n - 1] == 1.5)
        precondition(turned.withUnsafeElements(as: Double.self) { $0[n - 1] } == 1.5)
        precondition(turned.description.contains("1.5"))
        // Not a byte more.
        LazyGradEngine.setMemoryLimit(0)
        lacks("nothing left") { _ = NDArray.zeros([n]) }
        lacks("nothing left for a tensor") { _ = Tensor(floats).item() }
        lacks("nothing left to fill with") {
          for k in 0..<10_000 { _ = Tensor(NDArray.zeros([8 * k + 1_000])) }
        }
        LazyGradEngine.setMemoryLimit(1 << 40)
        for (name, make) in makers where name != "mask" {
          precondition(make().count > 1, name)
        }
        try! target.assign(square)
        precondition(target[1023, 1023].item() == 1.5)
        precondition((Tensor(source) * 2)[n - 1].item() == 3)
      }
    }
  }
#endif
