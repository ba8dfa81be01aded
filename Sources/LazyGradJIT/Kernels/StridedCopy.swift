// Copies from strided to contiguous memory: whole layouts, and the short pieces that loops over
// tiles ask for. Uses layouts and element sizes only; what the bytes mean is no matter here.

/// A layout cut for walking: an inner run of equidistant elements, and the axes outside of it.
///
/// Reads the arrays of a `Layout` without retaining or copying them, so it must not outlive it.
struct StridedWalk {
  /// Elements of the inner run, and between two of them.
  let run: Int
  let step: Int
  /// The number of axes outside of the run.
  let outer: Int

  /// Finds the longest inner run: the last axis with all those before it that continue it.
  ///
  /// Axes of length 1 never end a run, so a scalar or contiguous layout of any rank is one run,
  /// and a bias or a column of statistics broadcast to a matrix is a run and one axis.
  @inline(__always)
  init(_ dims: UnsafeBufferPointer<Int>, _ strides: UnsafeBufferPointer<Int>) {
    let d = dims.baseAddress
    let s = strides.baseAddress
    var axis = dims.count
    var run = 1
    var step = 1
    if let d, let s {
      while axis > 0 {
        let length = d[axis - 1]
        if length != 1 {
          if run == 1 {
            step = s[axis - 1]
          } else if s[axis - 1] != run * step {
            break
          }
          run *= length
        }
        axis -= 1
      }
    }
    self.run = run
    self.step = step
    outer = axis
  }
}

extension Layout {
  /// Calls `body` with the offset of every inner run, or the part of one, that holds elements
  /// `start ..< start + count` in C order: offset, number of elements, elements already passed.
  ///
  /// No allocation, and one division per outer axis; after that runs cost an increment each.
  @inline(__always)
  func forEachRun(
    _ walk: StridedWalk, start: Int, count: Int,
    _ body: (_ offset: Int, _ n: Int, _ at: Int) -> Void
  ) {
    if count <= 0 { return }
    if walk.outer == 0 {
      body(start &* walk.step, count, 0)
      return
    }
    dims.withUnsafeBufferPointer { dims in
      strides.withUnsafeBufferPointer { strides in
        var rest = start / walk.run
        let first = start &- rest &* walk.run
        if walk.outer == 1 {
          var offset = rest &* strides[0]
          var n = min(walk.run &- first, count)
          body(offset &+ first &* walk.step, n, 0)
          var at = n
          while at < count {
            offset &+= strides[0]
            n = min(walk.run, count &- at)
            body(offset, n, at)
            at &+= n
          }
          return
        }
        withUnsafeTemporaryAllocation(of: Int.self, capacity: LayoutTable.maxRank) { index in
          var offset = 0
          for axis in stride(from: walk.outer &- 1, through: 0, by: -1) {
            let quotient = rest / dims[axis]
            index[axis] = rest &- quotient &* dims[axis]
            offset &+= index[axis] &* strides[axis]
            rest = quotient
          }
          var n = min(walk.run &- first, count)
          body(offset &+ first &* walk.step, n, 0)
          var at = n
          while at < count {
            var axis = walk.outer &- 1
            index[axis] &+= 1
            offset &+= strides[axis]
            while index[axis] == dims[axis] {
              offset &-= dims[axis] &* strides[axis]
              index[axis] = 0
              axis &-= 1
              index[axis] &+= 1
              offset &+= strides[axis]
            }
            n = min(walk.run, count &- at)
            body(offset, n, at)
            at &+= n
          }
        }
      }
    }
  }

  /// How this layout is walked.
  @inline(__always)
  var walk: StridedWalk {
    dims.withUnsafeBufferPointer { dims in
      strides.withUnsafeBufferPointer { StridedWalk(dims, $0) }
    }
  }
}

extension Strided {
  /// `target[i * rowStep + j] = source[i + j * step]` for some first `i` and `j` of `height` x
  /// `width`: source, step, target, row step, height, width. Gives the height and width that it did.
  package typealias TransposeTiles = (
    UnsafeRawPointer, Int, UnsafeMutableRawPointer, Int, Int, Int
  ) -> (height: Int, width: Int)

  /// Copies the elements `start ..< start + count`, counted in C order of `layout`, to contiguous
  /// memory.
  ///
  /// `base` is the address of the element with all indices 0; strides may be zero or negative.
  /// Called once per tile, hence no set-up that allocates.
  package static func gather(
    elementSize: Int, from base: UnsafeRawPointer, layout: Layout, start: Int, count: Int,
    to dst: UnsafeMutableRawPointer
  ) {
    switch elementSize {
    case 1: gather(UInt8.self, base, layout, start, count, dst)
    case 2: gather(UInt16.self, base, layout, start, count, dst)
    case 4: gather(UInt32.self, base, layout, start, count, dst)
    default: gather(UInt64.self, base, layout, start, count, dst)
    }
  }

  private static func gather<T: FixedWidthInteger>(
    _: T.Type, _ base: UnsafeRawPointer, _ layout: Layout, _ start: Int, _ count: Int,
    _ dst: UnsafeMutableRawPointer
  ) {
    let source = base.assumingMemoryBound(to: T.self)
    let target = dst.assumingMemoryBound(to: T.self)
    let walk = layout.walk
    let step = walk.step
    switch step {
    case 1:
      layout.forEachRun(walk, start: start, count: count) { offset, n, at in
        copyRun(source + offset, target + at, n)
      }
    case 0:
      layout.forEachRun(walk, start: start, count: count) { offset, n, at in
        fillRun(source[offset], target + at, n)
      }
    default:
      layout.forEachRun(walk, start: start, count: count) { offset, n, at in
        gatherRun(source + offset, step, target + at, n)
      }
    }
  }

  @inline(__always)
  private static func piece(_ p: UnsafeRawPointer, _ at: Int) -> SIMD4<UInt32> {
    p.loadUnaligned(fromByteOffset: at, as: SIMD4<UInt32>.self)
  }

  @inline(__always)
  private static func put(_ v: SIMD4<UInt32>, _ q: UnsafeMutableRawPointer, _ at: Int) {
    q.storeBytes(of: v, toByteOffset: at, as: SIMD4<UInt32>.self)
  }

  /// Copies a run; a short one without a call or a loop, in pieces from both ends that overlap in
  /// the middle where the length asks for it.
  @inline(__always)
  static func copyRun<T: FixedWidthInteger>(
    _ source: UnsafePointer<T>, _ target: UnsafeMutablePointer<T>, _ n: Int
  ) {
    let bytes = n &* MemoryLayout<T>.size
    let p = UnsafeRawPointer(source)
    let q = UnsafeMutableRawPointer(target)
    if bytes >= 16 {
      if bytes > 64 {
        q.copyMemory(from: p, byteCount: bytes)
        return
      }
      let first = piece(p, 0)
      let last = piece(p, bytes &- 16)
      if bytes > 32 {
        let second = piece(p, 16)
        let third = piece(p, bytes &- 32)
        put(second, q, 16)
        put(third, q, bytes &- 32)
      }
      put(first, q, 0)
      put(last, q, bytes &- 16)
    } else if bytes >= 8 {
      let low = p.loadUnaligned(as: UInt64.self)
      let high = p.loadUnaligned(fromByteOffset: bytes &- 8, as: UInt64.self)
      q.storeBytes(of: low, as: UInt64.self)
      q.storeBytes(of: high, toByteOffset: bytes &- 8, as: UInt64.self)
    } else if bytes >= 4 {
      let low = p.loadUnaligned(as: UInt32.self)
      let high = p.loadUnaligned(fromByteOffset: bytes &- 4, as: UInt32.self)
      q.storeBytes(of: low, as: UInt32.self)
      q.storeBytes(of: high, toByteOffset: bytes &- 4, as: UInt32.self)
    } else if bytes > 0 {
      // One to three bytes: first, middle and last cover them.
      let first = p.load(as: UInt8.self)
      let middle = p.load(fromByteOffset: bytes / 2, as: UInt8.self)
      let last = p.load(fromByteOffset: bytes &- 1, as: UInt8.self)
      q.storeBytes(of: first, as: UInt8.self)
      q.storeBytes(of: middle, toByteOffset: bytes / 2, as: UInt8.self)
      q.storeBytes(of: last, toByteOffset: bytes &- 1, as: UInt8.self)
    }
  }

  /// Repeats one element, in 16-byte pieces of which the last overlaps the one before it.
  @inline(__always)
  private static func fillRun<T: FixedWidthInteger>(
    _ value: T, _ target: UnsafeMutablePointer<T>, _ n: Int
  ) {
    let bytes = n &* MemoryLayout<T>.size
    if bytes < 16 {
      for i in 0..<n { target[i] = value }
      return
    }
    let q = UnsafeMutableRawPointer(target)
    let pattern: SIMD4<UInt32>
    switch MemoryLayout<T>.size {
    case 1: pattern = SIMD4(repeating: UInt32(truncatingIfNeeded: value) &* 0x0101_0101)
    case 2: pattern = SIMD4(repeating: UInt32(truncatingIfNeeded: value) &* 0x0001_0001)
    case 4: pattern = SIMD4(repeating: UInt32(truncatingIfNeeded: value))
    default:
      pattern = unsafeBitCast(
        SIMD2<UInt64>(repeating: UInt64(truncatingIfNeeded: value)), to: SIMD4<UInt32>.self)
    }
    var at = 0
    while at <= bytes &- 64 {
      put(pattern, q, at)
      put(pattern, q, at &+ 16)
      put(pattern, q, at &+ 32)
      put(pattern, q, at &+ 48)
      at &+= 64
    }
    while at <= bytes &- 16 {
      put(pattern, q, at)
      at &+= 16
    }
    put(pattern, q, bytes &- 16)
  }

  /// Collects equidistant elements; four loads at a time, so that they don't wait for the stores.
  @inline(__always)
  private static func gatherRun<T: FixedWidthInteger>(
    _ source: UnsafePointer<T>, _ step: Int, _ target: UnsafeMutablePointer<T>, _ n: Int
  ) {
    var p = source
    var i = 0
    while i <= n &- 4 {
      let x0 = p[0]
      let x1 = p[step]
      let x2 = p[2 &* step]
      let x3 = p[3 &* step]
      target[i] = x0
      target[i &+ 1] = x1
      target[i &+ 2] = x2
      target[i &+ 3] = x3
      p += 4 &* step
      i &+= 4
    }
    while i < n {
      target[i] = p[0]
      p += step
      i &+= 1
    }
  }

  /// Copies a whole layout to contiguous memory.
  ///
  /// Matrices whose rows follow each other along another axis than the last are turned block by
  /// block, so that neither side touches a cache line for one element only.
  ///
  /// - Parameter tiles: turns as much of a matrix as it can and says how much that was; machine code
  ///   where there is some. No optional: that would be an object for every copy.
  package static func copy(
    elementSize: Int, from base: UnsafeRawPointer, layout: Layout, to dst: UnsafeMutableRawPointer,
    tiles: TransposeTiles = { _, _, _, _, _, _ in (height: 0, width: 0) }
  ) {
    if layout.count == 0 { return }
    if layout.isContiguous {
      dst.copyMemory(from: base, byteCount: layout.count * elementSize)
      return
    }
    switch elementSize {
    case 2 where transposedCopy(UInt16.self, base, layout, dst, tiles): return
    case 4 where transposedCopy(UInt32.self, base, layout, dst, tiles): return
    case 8 where transposedCopy(UInt64.self, base, layout, dst, tiles): return
    default: break
    }
    gather(
      elementSize: elementSize, from: base, layout: layout, start: 0, count: layout.count, to: dst)
  }

  /// Copies a layout whose last axis is strided and that has one other axis with stride 1.
  ///
  /// - Returns: false, with nothing copied, for other layouts and for small ones.
  private static func transposedCopy<T: FixedWidthInteger>(
    _: T.Type, _ base: UnsafeRawPointer, _ layout: Layout, _ dst: UnsafeMutableRawPointer,
    _ tiles: TransposeTiles
  ) -> Bool {
    let last = layout.rank - 1
    if last < 1 { return false }
    let width = layout.dims[last]
    let step = layout.strides[last]
    if width < 4 || step == 1 || step == 0 { return false }
    var axis = last - 1
    while axis >= 0, layout.strides[axis] != 1 || layout.dims[axis] < 4 { axis -= 1 }
    if axis < 0 { return false }
    let source = base.assumingMemoryBound(to: T.self)
    let target = dst.assumingMemoryBound(to: T.self)
    let height = layout.dims[axis]
    var rowStep = width
    for other in (axis + 1)..<last { rowStep *= layout.dims[other] }
    // The other axes, in an odometer of which the two axes of the matrices are left out.
    withUnsafeTemporaryAllocation(of: Int.self, capacity: LayoutTable.maxRank) { index in
      for other in 0..<layout.rank { index[other] = 0 }
      var from = 0
      var to = 0
      while true {
        let done = tiles(source + from, step, target + to, rowStep, height, width)
        // What is left: the columns beside what is done, then the rows below.
        transpose(
          source + from + done.width * step, step, target + to + done.width, rowStep, done.height,
          width - done.width)
        transpose(
          source + from + done.height, step, target + to + done.height * rowStep, rowStep,
          height - done.height, width)
        var other = last
        var places = width
        while true {
          if other != last { places *= layout.dims[other] }
          other -= 1
          if other < 0 { return }
          if other == axis { continue }
          index[other] += 1
          from += layout.strides[other]
          to += places
          if index[other] < layout.dims[other] { break }
          from -= layout.dims[other] * layout.strides[other]
          to -= layout.dims[other] * places
          index[other] = 0
        }
      }
    }
    return true
  }

  /// `target[i * rowStep + j] = source[i + j * step]` for `height` x `width` elements.
  ///
  /// Columns in panels of 32: the 32 source rows of a panel are read along, four or two elements at
  /// a time, while four target rows grow by 128 or 256 bytes each.
  private static func transpose<T: FixedWidthInteger>(
    _ source: UnsafePointer<T>, _ step: Int, _ target: UnsafeMutablePointer<T>, _ rowStep: Int,
    _ height: Int, _ width: Int
  ) {
    for panel in stride(from: 0, to: width, by: 32) {
      let end = min(panel + 32, width)
      var i = 0
      while i <= height - 4 {
        var j = panel
        while j <= end - 4 {
          transposeBlock(source + i + j * step, step, target + i * rowStep + j, rowStep)
          j += 4
        }
        while j < end {
          let p = source + i + j * step
          let q = target + i * rowStep + j
          q[0] = p[0]
          q[rowStep] = p[1]
          q[2 * rowStep] = p[2]
          q[3 * rowStep] = p[3]
          j += 1
        }
        i += 4
      }
      while i < height {
        for j in panel..<end { target[i * rowStep + j] = source[i + j * step] }
        i += 1
      }
    }
  }

  /// Turns 4 x 4 elements in registers.
  @inline(__always)
  private static func transposeBlock<T: FixedWidthInteger>(
    _ source: UnsafePointer<T>, _ step: Int, _ target: UnsafeMutablePointer<T>, _ rowStep: Int
  ) {
    let p = UnsafeRawPointer(source)
    let q = UnsafeMutableRawPointer(target)
    let from = step * MemoryLayout<T>.size
    let to = rowStep * MemoryLayout<T>.size
    if MemoryLayout<T>.size == 4 {
      let r0 = p.loadUnaligned(as: SIMD4<UInt32>.self)
      let r1 = p.loadUnaligned(fromByteOffset: from, as: SIMD4<UInt32>.self)
      let r2 = p.loadUnaligned(fromByteOffset: 2 * from, as: SIMD4<UInt32>.self)
      let r3 = p.loadUnaligned(fromByteOffset: 3 * from, as: SIMD4<UInt32>.self)
      let c0 = SIMD4<UInt32>(r0[0], r1[0], r2[0], r3[0])
      let c1 = SIMD4<UInt32>(r0[1], r1[1], r2[1], r3[1])
      let c2 = SIMD4<UInt32>(r0[2], r1[2], r2[2], r3[2])
      let c3 = SIMD4<UInt32>(r0[3], r1[3], r2[3], r3[3])
      q.storeBytes(of: c0, as: SIMD4<UInt32>.self)
      q.storeBytes(of: c1, toByteOffset: to, as: SIMD4<UInt32>.self)
      q.storeBytes(of: c2, toByteOffset: 2 * to, as: SIMD4<UInt32>.self)
      q.storeBytes(of: c3, toByteOffset: 3 * to, as: SIMD4<UInt32>.self)
    } else if MemoryLayout<T>.size == 2 {
      let r0 = p.loadUnaligned(as: SIMD4<UInt16>.self)
      let r1 = p.loadUnaligned(fromByteOffset: from, as: SIMD4<UInt16>.self)
      let r2 = p.loadUnaligned(fromByteOffset: 2 * from, as: SIMD4<UInt16>.self)
      let r3 = p.loadUnaligned(fromByteOffset: 3 * from, as: SIMD4<UInt16>.self)
      for i in 0..<4 {
        q.storeBytes(
          of: SIMD4<UInt16>(r0[i], r1[i], r2[i], r3[i]), toByteOffset: i * to,
          as: SIMD4<UInt16>.self)
      }
    } else {
      for half in 0..<2 {
        for pair in 0..<2 {
          let a = p + 2 * half * from + 16 * pair
          let b = q + 2 * pair * to + 16 * half
          let r0 = a.loadUnaligned(as: SIMD2<UInt64>.self)
          let r1 = a.loadUnaligned(fromByteOffset: from, as: SIMD2<UInt64>.self)
          b.storeBytes(of: SIMD2<UInt64>(r0[0], r1[0]), as: SIMD2<UInt64>.self)
          b.storeBytes(of: SIMD2<UInt64>(r0[1], r1[1]), toByteOffset: to, as: SIMD2<UInt64>.self)
        }
      }
    }
  }
}
