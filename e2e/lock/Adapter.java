package com.google.devtools.build.lib.bazel.bzlmod;

import com.google.gson.Gson;
import com.google.gson.TypeAdapter;
import com.google.gson.reflect.TypeToken;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.TreeMap;

// Debian builds its Bazel without the annotation processor that makes the adapters of what is in MODULE.bazel.lock, so
// that Bazel writes `{}` whatever it has locked. These are found by their names and read and write as those would.
class Adapter<T> extends TypeAdapter<T> {
  private final Gson gson;
  private final Class<T> type;
  private final TreeMap<String, Method> getters = new TreeMap<>();

  Adapter(Gson gson, Class<T> type) {
    this.gson = gson;
    this.type = type;
    for (Method method : type.getDeclaredMethods()) {
      if (Modifier.isAbstract(method.getModifiers()) && !method.getName().equals("toBuilder")) {
        String name = method.getName().replaceFirst("^get", "");
        getters.put(name.substring(0, 1).toLowerCase() + name.substring(1), method);
      }
    }
  }

  public static void premain(String arguments) {}

  @Override
  public void write(JsonWriter out, T value) throws IOException {
    out.beginObject();
    for (String name : getters.keySet()) {
      out.name(name);
      try {
        adapter(name).write(out, getters.get(name).invoke(value));
      } catch (ReflectiveOperationException e) {
        throw new IOException(e);
      }
    }
    out.endObject();
  }

  @Override
  @SuppressWarnings("unchecked")
  public T read(JsonReader in) throws IOException {
    try {
      Method begin = type.getDeclaredMethod("builder");
      begin.setAccessible(true);
      Object builder = begin.invoke(null);
      in.beginObject();
      while (in.hasNext()) {
        String name = in.nextName();
        String setter = "set" + name.substring(0, 1).toUpperCase() + name.substring(1);
        Object value = adapter(name).read(in);
        call(builder, setter, getters.get(name).getReturnType(), value);
      }
      in.endObject();
      Method build = begin.getReturnType().getDeclaredMethod("build");
      build.setAccessible(true);
      return (T) build.invoke(builder);
    } catch (ReflectiveOperationException e) {
      throw new IOException(e);
    }
  }

  @SuppressWarnings("unchecked")
  private TypeAdapter<Object> adapter(String name) throws IOException {
    Method getter = getters.get(name);
    if (getter == null) {
      throw new IOException(type.getSimpleName() + " has no " + name);
    }
    return (TypeAdapter<Object>) gson.getAdapter(TypeToken.get(getter.getGenericReturnType()));
  }

  private static void call(Object builder, String name, Class<?> parameter, Object value)
      throws ReflectiveOperationException {
    Method setter = builder.getClass().getSuperclass().getDeclaredMethod(name, parameter);
    setter.setAccessible(true);
    setter.invoke(builder, value);
  }
}

class BazelLockFileValue_GsonTypeAdapter extends Adapter<BazelLockFileValue> {
  BazelLockFileValue_GsonTypeAdapter(Gson gson) {
    super(gson, BazelLockFileValue.class);
  }
}

class LockFileModuleExtension_GsonTypeAdapter extends Adapter<LockFileModuleExtension> {
  LockFileModuleExtension_GsonTypeAdapter(Gson gson) {
    super(gson, LockFileModuleExtension.class);
  }
}

class RepoSpec_GsonTypeAdapter extends Adapter<RepoSpec> {
  RepoSpec_GsonTypeAdapter(Gson gson) {
    super(gson, RepoSpec.class);
  }
}
