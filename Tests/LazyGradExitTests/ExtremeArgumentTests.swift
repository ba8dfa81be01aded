// Every shape, axis, count, index and step of the public interface with the numbers at which arithmetic
// goes wrong: each call gives a value, or throws a `TensorError`. A trap would end the process, so this
// runs in one of its own, which says what it is about to do.

import Foundation
import LazyGrad
import TestSupport
import Testing

#if os(Linux) || os(macOS)
  private let extremes = [
    0, 1, -1, 2, 3, -3, 5, .min, .min + 1, .max, .max - 1, 1 << 31, (1 << 31) - 1, -(1 << 31),
    1 << 32,
    1 << 48, (1 << 48) + 1, 1 << 49, 1 << 60, 1 << 62, -(1 << 62),
  ]

  /// The file in which the process of a test says what it is about to do: of one that has ended in another
  /// way than expected nothing else can be observed.
  private func trace(of test: String, in process: pid_t) -> String {
    NSTemporaryDirectory() + "lazygrad-extreme-\(test)-\(process)"
  }

  private nonisolated(unsafe) var traced: FileHandle?

  private func begin(_ test: String) {
    let path = trace(of: test, in: getppid())
    _ = FileManager.default.createFile(atPath: path, contents: nil)
    traced = FileHandle(forWritingAtPath: path)
    LazyGradEngine.setMemoryLimit(1 << 24)
  }

  private func note(_ text: String) {
    try! traced!.write(contentsOf: Data((text + "\n").utf8))
  }

  /// More than this is not read: it would fit into the memory of some machines, and take long.
  private func isSmall(_ count: Int) -> Bool { count <= 1 << 12 }

  private func attempt(_ name: String, _ body: () -> Void) {
    note(name)
    do { try catchingTensorErrors(body) } catch {
      precondition(error is TensorError, "\(name): \(error)")
    }
  }

  /// Looks at a tensor in all ways that the machine can afford.
  private func use(_ x: Tensor) {
    _ = (x.shape, x.rank, x.debugDescription, Mirror(reflecting: x).children.count)
    _ = (+x).sum().explain()
    x.eval()
    for axis in x.shape.indices {
      let (sum, highest) = (x.sum(axis: axis), x.sum(axis: axis, keepDims: true))
      _ = (sum + 1, softmax(x, axis: axis), x.expandedDims(at: axis), x[.all], highest)
      if isSmall(x.count) { sum.eval() }
    }
    if isSmall(x.count) {
      _ = (x.elements(as: Double.self), "\(x)", x.snapshot, x.copy(), x.flattened().shape)
    }
    let total = (x * 2).sum()
    total.backward()
    if isSmall(x.count) { _ = (total.eval(), x.grad?.eval()) }
  }

  private func use(_ x: NDArray) {
    _ = (x.shape, x.strides, x.isContiguous, x.debugDescription, x.sharesMemory(with: x[.newAxis]))
    _ = (x.isWriteable, "\(x)", x.sharesMemory(with: x.transposed()))
    if isSmall(x.count) || x.count > 1 << 45 {
      _ = (x.elements(as: Int.self), x.elements(as: Bool.self), TensorSnapshot(x), x.copy())
      use(Tensor(x))
      use(Tensor(x, copy: false))
    }
  }

  private func operands() -> [Tensor] {
    let whole = Tensor(NDArray.arange(6.0).reshaped([2, 3]))
    return [
      whole, whole.transposed(), whole[1], whole[0, 0], Tensor.zeros([0]), Tensor.zeros([0, 3]),
      Tensor.ones([1, 1], dtype: .float64), Tensor([1, 2, 3]), Tensor([true, false]),
      Tensor(2.0).broadcast(to: [2, 3]), Tensor.zeros([1 << 24, 0, 1 << 24]),
    ]
  }

  /// Lists of extreme numbers: all of one and two, and some longer ones.
  private func lists(_ random: inout SeededRandom) -> [[Int]] {
    var lists = extremes.map { [$0] } + extremes.flatMap { a in extremes.map { b in [a, b] } }
    for length in 3...5 {
      for _ in 0..<50 {
        lists.append((0..<length).map { _ in extremes.randomElement(using: &random)! })
      }
    }
    return lists
  }

  @Suite("Extreme arguments")
  struct ExtremeArgumentTests {
    private func check(_ test: String, _ result: ExitTest.Result?) {
      let path = trace(of: test, in: getpid())
      let text = String(
        decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
      try? FileManager.default.removeItem(atPath: path)
      #expect(result != nil && text.hasSuffix("\nend\n"), "\(text.suffix(200))")
    }

    @Test("Axes, counts and steps")
    func axes() async {
      check(
        "axes",
        await #expect(processExitsWith: .success) {
          begin("axes")
          let unary: [(String, (Tensor, Int) -> Tensor)] = [
            ("sum", { $0.sum(axis: $1) }), ("sum kept", { $0.sum(axis: $1, keepDims: true) }),
            ("sum axes", { $0.sum(axes: [$1]) }), ("sum two", { $0.sum(axes: [0, $1]) }),
            ("prod", { $0.prod(axis: $1) }), ("prod axes", { $0.prod(axes: [0, $1]) }),
            ("mean", { $0.mean(axis: $1) }), ("mean axes", { $0.mean(axes: [$1, 1]) }),
            ("max", { $0.max(axis: $1) }), ("max axes", { $0.max(axes: [$1]) }),
            ("min", { $0.min(axis: $1) }), ("min axes", { $0.min(axes: [$1]) }),
            ("argmax", { $0.argmax(axis: $1) }), ("argmin", { $0.argmin(axis: $1) }),
            ("var", { $0.var(axis: $1) }), ("var ddof", { $0.var(ddof: $1) }),
            ("var axis ddof", { $0.var(axis: 0, ddof: $1, keepDims: true) }),
            ("softmax", { softmax($0, axis: $1) }), ("logSoftmax", { logSoftmax($0, axis: $1) }),
            ("logSumExp", { logSumExp($0, axis: $1) }),
            ("expandedDims", { $0.expandedDims(at: $1) }), ("squeezed", { $0.squeezed(axis: $1) }),
            ("concatenate", { concatenate([$0, $0], axis: $1) }),
            ("stack", { stack([$0, $0, $0], axis: $1) }),
            ("transposed", { $0.transposed([$1]) }), ("transposed 2", { $0.transposed([$1, 0]) }),
            ("row", { $0[$1] }), ("element", { $0[0, $1] }), ("rows", { $0[[0, $1]] }),
            ("mixed", { $0[[0], $1] }), ("takeRows", { $0.takeRows(NDArray([$1])) }),
            ("from", { $1 < .max ? $0[$1...] : $0[.slice($1)] }), ("up to", { $0[..<$1] }),
            ("through", { $0[...$1] }), ("range", { $0[.slice(0, $1)] }),
            ("step", { $0[.slice(step: $1)] }), ("step in", { $0[.all, .slice(step: $1)] }),
            ("labels", { softmaxCrossEntropy($0, NDArray([$1, 0])) }),
            ("power", { $0 ** $1 }), ("of power", { $1 ** $0 }), ("add", { $0 + $1 }),
            ("multiply", { $0 * $1 }), ("divide", { $1 / $0 }), ("compare", { $0 .< $1 }),
            ("maximum", { maximum($0, $1) }), ("clip", { $0.clip(Double($1), nil) }),
          ]
          for (name, operation) in unary {
            for (k, x) in operands().enumerated() {
              for n in extremes {
                attempt("\(name) \(k) \(n)") { use(operation(x, n)) }
                attempt("\(name) in place \(k) \(n)") {
                  let target = Tensor(NDArray.ones([2, 3]))
                  target.assign(operation(x, n))
                  target[0] += operation(x, n)
                }
              }
            }
          }
          let updates: [(String, (Tensor, Int) -> Void)] = [
            ("row", { $0[$1] += 1 }), ("rows", { $0[[$1, 0]] = Tensor(1.0) }),
            ("step", { $0[.slice(step: $1)] *= 2 }),
            ("slice", { $0[.slice($1, nil)] = Tensor(1.0) }),
          ]
          for (name, update) in updates {
            for (k, x) in operands().enumerated() {
              for n in extremes { attempt("update \(name) \(k) \(n)") { update(x, n) } }
            }
          }
          note("end")
        })
    }

    @Test("Shapes")
    func shapes() async {
      check(
        "shapes",
        await #expect(processExitsWith: .success) {
          begin("shapes")
          var random = SeededRandom(seed: 11)
          for shape in lists(&random) {
            for (k, x) in operands().enumerated() {
              attempt("reshaped \(k) \(shape)") { use(x.reshaped(shape)) }
              attempt("broadcast \(k) \(shape)") { use(x.broadcast(to: shape)) }
              attempt("axes \(k) \(shape)") {
                use(x.transposed(shape))
                use(x.sum(axes: shape))
              }
              attempt("elements \(k) \(shape)") { use(x[shape]) }
            }
            let array = NDArray.arange(6.0).reshaped([2, 3])
            for (k, x) in [array, array[0..<0], NDArray(1.0)].enumerated() {
              attempt("array reshaped \(k) \(shape)") { use(x.reshaped(shape)) }
              attempt("array broadcast \(k) \(shape)") { use(x.broadcast(to: shape)) }
              attempt("array transposed \(k) \(shape)") { use(x.transposed(shape)) }
              attempt("array elements \(k) \(shape)") {
                use(x[shape])
                x[shape] = NDArray(1.0)
                use(x[shape[0]])
                use(x[.slice(shape[0], shape.last!, step: shape[shape.count / 2])])
                x[.slice(shape[0], shape.last!)] = NDArray(2.0)
              }
            }
            attempt("zeros \(shape)") { use(Tensor.zeros(shape)) }
            attempt("full \(shape)") { use(Tensor.full(shape, 3)) }
            attempt("ones \(shape)") { use(Tensor.ones(shape, dtype: .bool)) }
            attempt("array zeros \(shape)") { use(NDArray.zeros(shape)) }
            attempt("array ones \(shape)") { use(NDArray.ones(shape, dtype: .uint8)) }
            attempt("array full \(shape)") { use(NDArray.full(shape, 3)) }
            attempt("array of elements \(shape)") { use(NDArray([1.0, 2], shape: shape)) }
            attempt("snapshot \(shape)") {
              _ = try? TensorSnapshot(
                shape: shape, dtype: .float64, bytes: [0, 0, 0, 0, 0, 0, 0, 0])
            }
            let (a, b) = (shape[0], shape.last!)
            attempt("eye \(shape)") {
              use(NDArray.eye(a))
              use(NDArray.eye(2, b, diagonal: a))
            }
            attempt("arange \(shape)") {
              use(NDArray.arange(a, b))
              use(NDArray.arange(a, b, shape[shape.count / 2]))
              use(NDArray.arange(Double(a), Double(b), Double(shape[shape.count / 2])))
              use(Tensor.arange(a, b))
              use(Tensor.arange(a))
              use(NDArray.linspace(0, 1, count: a, endpoint: b > 0))
            }
            attempt("two \(shape)") {
              // Sizes that are each possible and together are not.
              let (x, y) = (Tensor(1.0).broadcast(to: [a, 1]), Tensor(1.0).broadcast(to: [1, b]))
              use(x + y)
              use(`where`(x .< y, x, y))
              _ = matmul(x, y).explain()
              _ = matmul(y, x).explain()
              _ = matmul(x, Tensor([[1.0]])).explain()
              use(concatenate([x, x], axis: 0))
              use(stack([y, y, y], axis: 1))
              _ = matmul(x.broadcast(to: [b, a, 1]), y).explain()
            }
            attempt("nothing times \(shape)") {
              let none = Tensor(1.0).broadcast(to: [a, 0, b])
              use(none)
              use(none.sum(axis: 1))
              use(none.sum(axes: [0, 2]))
              use(none.mean(axis: 1))
              none.sum(axis: 1).eval()
            }
          }
          note("end")
        })
    }

    @Test("Settings, and arrays that repeat one element")
    func settings() async {
      check(
        "settings",
        await #expect(processExitsWith: .success) {
          begin("settings")
          for n in extremes {
            note("threads \(n)")
            LazyGradEngine.threads = n
            precondition(1...1024 ~= LazyGradEngine.threads)
            if 1...1024 ~= n { precondition(LazyGradEngine.threads == n) }
            let x = Tensor(NDArray.ones([1 << 20], dtype: .float32))
            let y = exp(x * Float(n % 7)) * 0 + 1
            precondition(y.sum().item() == 1_048_576)
            note("limit \(n)")
            LazyGradEngine.setMemoryLimit(n)
            precondition(LazyGradEngine.memoryLimit == max(n, 0))
            attempt("limited \(n)") { (x + 1).eval() }
            LazyGradEngine.setMemoryLimit(1 << 40)
          }
          for shape in [[1 << 60], [1 << 62], [1 << 30, 1 << 31], [1 << 45]] {
            let wide = NDArray(1.0).broadcast(to: shape)
            func refuses(_ body: () -> Void) -> Bool {
              do {
                try catchingTensorErrors(body)
                return false
              } catch { return error is TensorError }
            }
            precondition(refuses { _ = TensorSnapshot(wide) })
            precondition(refuses { precondition(wide.elements(as: Float.self).count == 1) })
            precondition(refuses { _ = wide.copy() })
            precondition(wide.sharesMemory(with: wide[0..<1]) && wide.rank == shape.count)
          }
          note("end")
        })
    }
  }
#endif
